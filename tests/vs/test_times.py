"""A video with a variable frame rate, interpolated as workflows/interpolate.vpy says: time stamps and sound."""

import shutil
import subprocess
from pathlib import Path

import av
import pytest

from tests.vs.helpers import core
from tests.vs.real import ROOT, Pipe

STARTS_MS = [0, 40, 80, 140, 180, 220]  # BestSource gives the last frame the nominal duration of 40 ms
TIMES_MS = [0, 20, 40, 60, 80, 110, 140, 160, 180, 200, 220, 240]

pytestmark = [
    pytest.mark.skipif(not hasattr(core, "bs"), reason="needs vapoursynth-bestsource to read video"),
    pytest.mark.skipif(not shutil.which("ffmpeg") or not shutil.which("x264"), reason="needs ffmpeg and x264"),
]


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=300)


def times_ms(path: Path) -> list[float]:
    with av.open(str(path)) as file:
        return [1000 * frame.time for frame in file.decode(video=0) if frame.time is not None]


def sound(path: Path) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as file:
        return [(packet.pts, bytes(packet)) for packet in file.demux(audio=0)]


def test_a_variable_rate_keeps_its_times_and_its_sound(pipe: Pipe, models: dict[str, Path], tmp_path: Path) -> None:
    film, times, y4m, smooth, out = (tmp_path / n for n in ("film.mkv", "times.txt", "s.y4m", "smooth.mkv", "out.mkv"))
    time_stamps = "settb=1/1000,setpts=(N*40+20*floor(N/3))/1000/TB"
    inputs = ["-f", "lavfi", "-i", "testsrc2=size=40x32:rate=25", "-f", "lavfi", "-i", "sine=duration=0.26"]
    codecs = ["-c:v", "ffv1", "-pix_fmt", "yuv420p", "-enc_time_base", "1:1000", "-c:a", "pcm_s16le"]
    run("ffmpeg", *inputs, "-vf", time_stamps, "-fps_mode", "vfr", "-frames:v", len(STARTS_MS), *codecs, film)
    assert times_ms(film) == pytest.approx(STARTS_MS)

    arguments = ["-a", f"source={film}", "-a", f"model={models['interpolate']}"]
    done = pipe(ROOT / "workflows/interpolate.vpy", "-c", "y4m", "-t", str(times), *arguments, out=str(y4m))
    assert done.returncode == 0, done.stderr.decode()
    head, *lines = times.read_text().splitlines()
    assert head == "# timecode format v2"
    assert [float(line) for line in lines] == pytest.approx(TIMES_MS)

    run("x264", "--demuxer", "y4m", "--tcfile-in", times, "-o", smooth, y4m)
    run("ffmpeg", "-i", smooth, "-i", film, "-map", "0:v", "-map", "1:a", "-c", "copy", out)
    assert times_ms(out) == pytest.approx(TIMES_MS, abs=1)  # Matroska counts milliseconds
    assert sound(out) == sound(film)
