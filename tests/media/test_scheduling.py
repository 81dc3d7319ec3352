"""Scheduling: no encoder leaves real-time threads behind, which would starve the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux"),
    pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs root: others cannot have such threads"),
]

ENCODE = """
import os, sys
from fractions import Fraction
import av
from vrt_media.colour import Colour
from vrt_media.muxer import Muxer, MuxPlan

def policies():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

plan = MuxPlan(
    suffix=".mkv", codec="libsvtav1", settings={"preset": "12"}, pix_fmt="yuv420p", height=48, width=64,
    colour=Colour(matrix=1, full_range=False), rate=Fraction(25), time_base=Fraction(1, 25),
)
before, found = policies(), []
muxer = Muxer(sys.argv[1], plan)
for n in range(3):
    frame = av.VideoFrame(64, 48, "yuv420p")
    frame.pts, frame.time_base = n, plan.time_base
    muxer.encode(frame)
    found.append(policies())
muxer.finish()
assert len(os.listdir("/proc/self/task")) > 3, "the encoder has no threads, so this shows nothing"
print([*found, policies()] == [before] * 4 == [{os.SCHED_OTHER}] * 4)
"""
OPEN = """
import av, os
container = av.open("/dev/null", "w", format="matroska")
stream = container.add_stream("libsvtav1", rate=25)
stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
stream.codec_context.open(strict=False)
print(os.sched_getscheduler(0) != os.SCHED_OTHER)
"""


def run(code: str, *arguments: Path) -> str:
    environment = {**os.environ, "SVT_LOG": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_svt_av1_leaves_no_real_time_threads(tmp_path: Path) -> None:
    if run(OPEN) != "True":
        pytest.skip("this build of SVT-AV1 does not ask for real-time threads, or may not have them")
    assert run(ENCODE, tmp_path / "out.mkv") == "True"
