"""A video from file to file: BestSource, the filter, y4m, an encoder; every frame of the result is compared."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import vapoursynth as vs

from tests.vs.helpers import core
from tests.vs.real import VSPIPE, Pipe
from vs_plugin import restore

WIDTH, HEIGHT, FRAMES, RATE = 64, 64, 9, Fraction(24000, 1001)
TAGS = {"color_range": "tv", "color_space": "bt709", "color_transfer": "bt709", "color_primaries": "bt709"}
FORMATS = {8: vs.YUV420P8, 10: vs.YUV420P10}

SCRIPT = """
import vapoursynth as vs
from vsvrt import restore

clip = vs.core.bs.VideoSource(r"{video}").resize.Bicubic(format=vs.RGBS, matrix_in_s="709")
clip = restore(clip, model=r"{model}", window=4, overlap=2, device="cpu", tile=0)
clip.resize.Bicubic(format=vs.YUV420P{bits}, matrix_s="709").set_output()
"""

ENCODERS = {
    "ffmpeg": "ffmpeg -v error -i - -c:v libx264 -qp 0 -color_range tv -colorspace bt709 "
    "-color_primaries bt709 -color_trc bt709 {out}.mkv",
    "x264": "x264 --quiet --demuxer y4m --output-depth {bits} --qp 0 --range tv --colorprim bt709 "
    "--transfer bt709 --colormatrix bt709 -o {out}.mkv -",
    "SvtAv1EncApp": "SvtAv1EncApp -i stdin --input-depth {bits} --preset 8 --crf 10 --color-primaries 1 "
    "--transfer-characteristics 1 --matrix-coefficients 1 -b {out}.ivf",
}

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(core, "bs"), reason="needs vapoursynth-bestsource to read video"),
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moving waves, so that all frames differ."""
    path = tmp_path_factory.mktemp("video") / "video.mkv"
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=RATE, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for n in range(FRAMES):
            waves = [np.sin((x + 3 * n) / 5), np.cos((y - 2 * n) / 7), np.sin((x + y + 5 * n) / 9)]
            pixels = np.stack([128 + 90 * wave for wave in waves], axis=2).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        file.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def expected(video: Path, models: dict[str, Path]) -> dict[int, np.ndarray]:
    """Planes Y, U, V of all frames by bit depth, requested out of order; (frames, samples)."""
    clip = core.bs.VideoSource(str(video)).resize.Bicubic(format=vs.RGBS, matrix_in_s="709")
    restored: Any = restore(clip, model=str(models["deblur"]), window=4, overlap=2, device="cpu", tile=0)
    planes = {bits: np.empty((FRAMES, WIDTH * HEIGHT * 3 // 2), np.uint16) for bits in FORMATS}
    for bits, vs_format in FORMATS.items():
        encoded = restored.resize.Bicubic(format=vs_format, matrix_s="709")
        for n in (5, 2, 8, 0, 7, 1, 3, 6, 4):
            frame = encoded.get_frame(n)
            planes[bits][n] = np.concatenate([np.asarray(frame[plane]).ravel() for plane in range(3)])
    return planes


def facts(path: Path) -> dict[str, Any]:
    """What ffprobe reports about the video after decoding every frame."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["streams"][0]


def read_planes(path: Path) -> np.ndarray:
    """Planes Y, U, V of all frames, (frames, samples)."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray().ravel().astype(np.uint16) for frame in file.decode(video=0)])


def psnr(a: np.ndarray, b: np.ndarray, max_value: int) -> float:
    return float(10 * np.log10(max_value**2 / max(np.square(a - b.astype(float)).mean(), 1e-9)))


@pytest.mark.parametrize(
    ("encoder", "bits"),
    [("ffmpeg", 8), ("ffmpeg", 10), ("x264", 8), ("x264", 10), ("SvtAv1EncApp", 8), ("SvtAv1EncApp", 10)],
)
def test_every_frame_arrives(
    pipe: Pipe,
    models: dict[str, Path],
    video: Path,
    expected: dict[int, np.ndarray],
    tmp_path: Path,
    encoder: str,
    bits: int,
) -> None:
    if not shutil.which(encoder):
        pytest.skip(f"needs {encoder}")
    script = tmp_path / "script.vpy"
    script.write_text(SCRIPT.format(video=video, model=models["deblur"], bits=bits))
    encode = ENCODERS[encoder].format(out=tmp_path / "out", bits=bits)
    line = f"set -o pipefail; {VSPIPE} -c y4m {script} - | {encode}"
    done = subprocess.run(["bash", "-c", line], env=pipe.env, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    (out,) = tmp_path.glob("out.*")

    stream = facts(out)
    assert (stream["width"], stream["height"], int(stream["nb_read_frames"])) == (WIDTH, HEIGHT, FRAMES)
    assert Fraction(stream["r_frame_rate"]) == RATE
    assert stream["pix_fmt"].endswith({8: "p", 10: "p10le"}[bits])
    assert {name: stream.get(name) for name in TAGS} == TAGS
    planes, max_value = read_planes(out), 2**bits - 1
    if encoder != "SvtAv1EncApp":
        assert np.array_equal(planes, expected[bits])  # lossless
        return
    for n in range(FRAMES):
        others = [psnr(planes[n], expected[bits][m], max_value) for m in range(FRAMES) if m != n]
        assert psnr(planes[n], expected[bits][n], max_value) > max(40, max(others) + 6)
