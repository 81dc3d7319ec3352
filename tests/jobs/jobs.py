"""Jobs for tests: one that was stopped, and plans of outputs."""

from fractions import Fraction
from pathlib import Path

from tests.helpers.identity import identity_restorer
from tests.helpers.video_files import make_video
from tests.helpers.vrt_restore import VrtRestore
from vrt_media.colour import Colour
from vrt_media.muxer import MuxPlan
from vrt_media.output_plan import OutputPlan

SIZE = (96, 128)
SEGMENTS = ("--segment-frames", "16")


def stopped_job(tmp_path: Path, vrt: VrtRestore, *options: str) -> tuple[Path, Path]:
    """Return the clip and the output of a job with two finished segments of 16 frames, and 8 frames of a third."""
    clip, out = make_video(tmp_path / "in.mkv", num_frames=60, size=SIZE), tmp_path / "out.mkv"

    def fail(n: int) -> None:
        if n == 40:
            raise OSError("the network drive is gone")

    options = (*SEGMENTS, *options)
    result = vrt(clip, "-o", out, *options, restorer=identity_restorer(before_pass=fail))
    assert result.exit_code == 1
    records = (tmp_path / "out.mkv.vrt" / "segments").glob("*.json")
    assert sorted(path.stem for path in records) == ["000000", "000001"]
    return clip, out


def plan_of(height: int, width: int) -> OutputPlan:
    mux = MuxPlan(
        suffix=".mkv", codec="ffv1", settings={}, pix_fmt="yuv420p", colour=Colour(matrix=1, full_range=False),
        height=height, width=width, rate=Fraction(25), time_base=Fraction(1, 25),
    )  # fmt: skip
    return OutputPlan(Path("out.mkv"), mux, ())
