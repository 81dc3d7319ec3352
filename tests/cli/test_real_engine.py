"""`vrt restore` with the real engine and a tiny network: its files contain the frames of the engine."""

import hashlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from tests.helpers.video_files import make_video, planes_of, read_planes, read_stamps
from vrt_cli.main import app
from vrt_core import ModelCard, build_network, load_restorer
from vrt_core.models import save_weights
from vrt_media.planes import write_rgb
from vrt_media.reader import VideoReader

SIZE = (18, 22)
TINY: dict[str, Any] = {
    "img_size": [2, 16, 16],
    "window_size": [2, 4, 4],
    "depths": [1] * 8,
    "indep_reconsts": [],
    "embed_dims": [8] * 8,
    "num_heads": [1] * 8,
    "deformable_groups": 1,
    "flow_channels": [4, 4, 4, 4],
}


def write_weights(folder: Path, name: str, task: str, **config: Any) -> Path:
    """Write a file with random weights and a model card of its own."""
    torch.manual_seed(0)
    config = {**TINY, **config}
    path = folder / f"{name}.safetensors"
    card = ModelCard(
        name=name, task=task, config=config, scale=config["upscale"], window_frames=4, overlap_frames=2, file=path.name
    )
    save_weights(path, build_network(**config).state_dict(), card=card)
    return path


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(
        tmp_path_factory.mktemp("weights"), "tiny", "denoise", upscale=1, pa_frames=2, nonblind_denoising=True
    )


def vrt(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["restore", *map(str, words), "--device", "cpu", "--codec", "ffv1"])


def read_rgb_clip(path: Path) -> torch.Tensor:
    reader = VideoReader(path)
    clip = torch.stack([frame.rgb for frame in reader.frames(lambda packet: None)])  # (T, 3, H, W)
    reader.close()
    return clip


def test_the_file_holds_the_engines_frames(tmp_path: Path, denoiser: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=9, size=SIZE, pix_fmt="yuv444p")
    out = tmp_path / "out.mkv"
    result = vrt(clip, "-o", out, "-m", denoiser, "--sigma", "25", "--cuts", "5")
    assert result.exit_code == 0, result.output
    reader = VideoReader(clip)
    restored = load_restorer(denoiser, device="cpu").restore(read_rgb_clip(clip), sigma_255=25, cuts=[5])
    expected = [planes_of(write_rgb(frame, "yuv444p", reader.info.colour)) for frame in restored]
    reader.close()
    outputs = read_planes(out)
    assert len(outputs) == 9
    assert all((a == b).all() for x, y in zip(expected, outputs, strict=True) for a, b in zip(x, y, strict=True))
    unchanged = read_planes(clip)
    assert any((a[0] != b[0]).any() for a, b in zip(unchanged, outputs, strict=True))


def test_strength_leaves_chroma_of_the_clip_alone(tmp_path: Path, denoiser: Path) -> None:
    """By the matrix of the file: its chroma planes come through as they are."""
    clip = make_video(tmp_path / "in.mkv", num_frames=5, size=SIZE, pix_fmt="yuv444p", tags=(6, 1, 6, 6))
    full, luma = tmp_path / "full.mkv", tmp_path / "luma.mkv"
    for out, strength in ((full, "1"), (luma, "1:0")):
        result = vrt(clip, "-o", out, "-m", denoiser, "--sigma", "25", "--strength", strength)
        assert result.exit_code == 0, result.output
    for before, restored, mixed in zip(read_planes(clip), read_planes(full), read_planes(luma), strict=True):
        assert (mixed[0] == restored[0]).all()
        assert all((a == b).all() for a, b in zip(mixed[1:], before[1:], strict=True))
        assert (restored[1] != before[1]).any()


def test_enlarging_and_interpolating(tmp_path: Path) -> None:
    """Space-time super-resolution, as a chain of two files."""
    sr = write_weights(tmp_path, "sr", "sr", upscale=4, pa_frames=2)
    between = write_weights(tmp_path, "between", "interpolate", upscale=1, pa_frames=0, out_chans=3, in_chans=3)
    clip = make_video(tmp_path / "in.mp4", codec="libx264", num_frames=3, size=(16, 18))
    out = tmp_path / "out.mp4"
    result = vrt(clip, "-o", out, "-m", f"{sr}+{between}")
    assert result.exit_code == 0, result.output
    outputs = read_planes(out)
    assert outputs[0][0].shape == (64, 72)
    assert [float(stamp) for stamp in read_stamps(out)] == pytest.approx([n / 50 for n in range(6)])


def test_interpolation_passes_the_frames_of_the_clip_through(tmp_path: Path) -> None:
    """Exactly: chroma in 4:2:0, noise of all codes, and the border, which the network pads."""
    between = write_weights(tmp_path, "between", "interpolate", upscale=1, pa_frames=0, out_chans=3, in_chans=3)
    clip, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=46, height=30, pix_fmt="yuv420p")
        for codes in np.random.default_rng(0).integers(0, 256, (4, 45, 46), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(codes, format="yuv420p")))
        container.mux(stream.encode(None))
    result = vrt(clip, "-o", out, "-m", between, "--codec", "ffv1")
    assert result.exit_code == 0, result.output
    outputs = read_planes(out)
    assert len(outputs) == 8
    for before, after in zip(read_planes(clip), outputs[::2], strict=True):
        assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_models_that_are_not_there(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2, size=SIZE)
    result = vrt(clip, "-o", tmp_path / "out.mkv", "-m", "nothing-like-it")
    assert result.exit_code == 1
    assert result.stderr.startswith("vrt: ")
    assert result.stderr.count("\n") == 1


def test_info_on_weights(denoiser: Path) -> None:
    lines = CliRunner().invoke(app, ["info", str(denoiser)]).stdout.splitlines()
    info = {words[0]: words[-1] for words in (line.strip().split("  ") for line in lines)}
    info = {name: value.strip() for name, value in info.items()}
    num_parameters = sum(tensor.numel() for tensor in load_file(denoiser).values())
    assert info["file"] == str(denoiser)
    assert info["loads as"] == "tiny (denoise, x1)"
    assert info["parameters"] == f"{num_parameters:,}"
    assert info["precision"] == f"float32 ({num_parameters:,})"
    assert info["size"].endswith(f"({denoiser.stat().st_size:,} bytes)")
    assert info["sha256"] == hashlib.sha256(denoiser.read_bytes()).hexdigest()
