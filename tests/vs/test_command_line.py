"""The filter and `vrt restore` give the same frames of the same clip, bit for bit."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.vs.helpers import fetch
from tests.vs.real import ROOT, as_clip
from vs_plugin import restore

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("tasks", "sigma", "factor", "strength"),
    [(["sr", "interpolate"], None, 2, 1.0), (["denoise"], "auto", 1, 1.0), (["sr", "interpolate"], None, 2, 0.6)],
)
def test_the_same_frames_as_the_command_line(
    models: dict[str, Path],
    tmp_path: Path,
    tasks: list[str],
    sigma: Literal["auto"] | None,
    factor: int,
    strength: float,
) -> None:
    codes = np.random.default_rng(0).integers(0, 65536, (7, 24, 32, 3), np.uint16)
    codes[4:] = 65535 - codes[4:] // 8  # another scene, which both must detect
    codes[:4] //= 8
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(source), "w") as file:
        stream = file.add_stream("ffv1", rate=25, width=32, height=24, pix_fmt="gbrp16le")
        for frame in codes:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb48le").reformat(format="gbrp16le")))
        file.mux(stream.encode())
    model = "+".join(str(models[task]) for task in tasks)
    command = ["restore", source, "-o", out, "-m", model, "--codec", "ffv1", "--pix-fmt", "gbrp16le"]
    common = ["--device", "cpu", "--precision", "fp32", "--tile", "0", "--window", "4", "--overlap", "2"]
    common += ["--sigma", sigma] if sigma else []
    common += ["--strength", f"{strength}:0.25"] if strength < 1 else []
    run = [sys.executable, "-c", "from vrt_cli.main import app; app()", *map(str, command), *common]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    frames = torch.from_numpy(codes.astype(np.float32) / 65535).movedim(3, 1).contiguous()
    clip = restore(
        as_clip(frames, vs.RGBS),
        model=model,
        sigma=sigma,
        window=4,
        overlap=2,
        tile=0,
        device="cpu",
        strength=strength,
        chroma_strength=0.25 if strength < 1 else None,
    )
    frames_by_number = fetch(clip, range(7 * factor - 1, -1, -1))
    with av.open(str(out)) as file:
        written = [frame.reformat(format="rgb48le").to_ndarray() for frame in file.decode(video=0)]
    assert len(written) == clip.num_frames == 7 * factor
    for n, frame in enumerate(written):
        restored = np.rint(frames_by_number[n] * np.float32(65535)).clip(0, 65535).astype(np.uint16)
        assert np.array_equal(restored.transpose(1, 2, 0), frame), n
