"""Jobs that go on: what is done again, what is refused, and what comes out."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.helpers.fake_restorers import fake_restorer, fake_runner
from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture, read_packets, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore
from vrt_core.restorer import Restorer
from vrt_jobs.job import checkpoint_length, segment_length
from vrt_media.colour import Colour
from vrt_media.muxer import MuxPlan
from vrt_media.output_plan import OutputPlan

SIZE = (96, 128)
SEGMENTS = ("--segment-frames", "16")
RESTORERS: dict[str, Callable[..., Restorer]] = {
    "overlapping windows": lambda: fake_restorer(window=12, overlap=3),
    "interpolation": lambda: Restorer([fake_runner(interpolates=True)]),
    "chain": lambda: Restorer([fake_runner(scale=2, window=7, overlap=2), fake_runner(interpolates=True)]),
}


def fail_at(restorer: Restorer, at: int) -> Restorer:
    """Let a restorer of fake networks fail at one of its passes."""
    count = [0]

    def before(clip: Any) -> None:
        count[0] += 1
        if count[0] == at:
            raise OSError("the network drive is gone")

    for runner in restorer.runners:
        runner.network.before = before  # type: ignore[assignment]
    return restorer


@pytest.mark.parametrize("kind", RESTORERS)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("at", [2, 5, 7])
def test_the_file_of_real_windows_is_the_same(tmp_path: Path, vrt: VrtRestore, kind: str, suffix: str, at: int) -> None:
    """Variable rate, sound, windows that overlap, several networks."""
    stamps = [n * 40 + (n % 3) * 9 for n in range(70)]
    clip = make_video(
        tmp_path / "in.mkv", codec="libx264", num_frames=70, size=SIZE, audio=True, stamps=stamps,
        time_base=Fraction(1, 1000),
    )  # fmt: skip
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"
    assert vrt(clip, "-o", whole, restorer=RESTORERS[kind]()).exit_code == 0
    result = vrt(clip, "-o", out, restorer=fail_at(RESTORERS[kind](), at))
    assert result.exit_code == 1
    assert "the network drive is gone" in result.stderr
    assert vrt(clip, "-o", out, restorer=RESTORERS[kind]()).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(read_planes(out)) == 70 * (1 if kind == "overlapping windows" else 2)


def test_time_stamps_and_sound_are_those_of_one_pass(tmp_path: Path, vrt: VrtRestore) -> None:
    """Joined segments beside the same clip through a pipe, which is encoded in one piece."""
    stamps = [n * 40 + (n % 3) * 9 for n in range(50)]
    clip = make_video(
        tmp_path / "in.mkv", codec="libx264", num_frames=50, size=SIZE, audio=True, stamps=stamps,
        time_base=Fraction(1, 1000),
    )  # fmt: skip
    for suffix in (".mkv", ".mp4"):
        out = tmp_path / f"out{suffix}"
        assert vrt(clip, "-o", out).exit_code == 0
        assert read_stamps(out) == [Fraction(stamp, 1000) for stamp in stamps]
        assert [data for _, data in read_packets(out)] == [data for _, data in read_packets(clip)]


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


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_the_frames_of_a_long_segment_are_not_done_again(tmp_path: Path, vrt: VrtRestore, codec: str) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=60, size=SIZE), tmp_path / "out.mkv"
    for at in (23, 11, 18):

        def fail(n: int, at: int = at) -> None:
            if n == at:
                raise OSError("the network drive is gone")

        assert vrt(clip, "-o", out, "--codec", codec, restorer=identity_restorer(before_pass=fail)).exit_code == 1
    assert list((tmp_path / "out.mkv.vrt" / "segments").glob("*.json")) == []
    passes: list[int] = []
    result = vrt(clip, "-o", out, "--codec", codec, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0
    assert "going on after 52 finished frames" in result.stderr
    assert len(passes) == 60 - 23 - 11 - 18
    assert vrt(clip, "-o", tmp_path / "whole.mkv", "--codec", codec).exit_code == 0
    assert out.read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_a_long_segment_whose_frames_are_damaged_is_done_again(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    frames = tmp_path / "out.mkv.vrt" / "segments" / "000002.frames"
    frames.write_bytes(frames.read_bytes()[:-1])
    passes: list[int] = []
    assert vrt(clip, "-o", out, *SEGMENTS, restorer=identity_restorer(before_pass=passes.append)).exit_code == 0
    assert len(passes) == 60 - 32


def test_segments_of_large_frames_are_short() -> None:
    restorer = fake_restorer(window=12, overlap=3)
    assert [segment_length(restorer, plan_of(*size)) for size in ((96, 128), (1080, 1920), (2160, 3840))] == [
        234,
        234,
        72,
    ]
    assert segment_length(restorer, plan_of(8640, 15360)) == 18
    assert segment_length(restorer, None) == checkpoint_length(restorer) == 18


def plan_of(height: int, width: int) -> OutputPlan:
    mux = MuxPlan(
        suffix=".mkv", codec="ffv1", settings={}, pix_fmt="yuv420p", colour=Colour(matrix=1, full_range=False),
        height=height, width=width, rate=Fraction(25), time_base=Fraction(1, 25),
    )  # fmt: skip
    return OutputPlan(Path("out.mkv"), mux, ())


def test_what_is_finished_is_not_done_again(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    passes: list[int] = []
    result = vrt(clip, "-o", out, *SEGMENTS, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0
    assert len(passes) == 60 - 40
    assert "going on after 40 finished frames" in result.stderr
    assert "20 frames in " in result.stderr
    assert not (tmp_path / "out.mkv.vrt").exists()


def test_a_damaged_segment_is_restored_again(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    data = tmp_path / "out.mkv.vrt" / "segments" / "000000.packets"
    data.write_bytes(data.read_bytes()[:-1] + b"\0")
    passes: list[int] = []
    result = vrt(clip, "-o", out, *SEGMENTS, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0, result.stderr
    assert f"segment 000000 in {out}.vrt is damaged; it is restored again" in result.stderr
    assert len(passes) in range(16 + 20, 16 + 20 + 3)  # the engine is ahead of the end of the first segment
    assert vrt(clip, "-o", tmp_path / "whole.mkv", *SEGMENTS).exit_code == 0
    assert out.read_bytes() == (tmp_path / "whole.mkv").read_bytes()


@pytest.mark.parametrize(
    ("options", "name", "there", "here"),
    [
        (["--crf", "30"], "output.settings.crf", "16", "30"),
        (["--codec", "ffv1"], "output.codec", "libx264", "ffv1"),
        (["--start", "3"], "start", "0", "3"),
        (["--frames", "50"], "frames", "None", "50"),
        (["--cuts", "12,30"], "--cuts", "auto", "[12, 30]"),
        (["--segment-frames", "20"], "segment_frames", "16", "20"),
        (["--crop", "64:48"], "crop", "None", "64:48"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, vrt: VrtRestore, options: list[str], name: str, there: str, here: str
) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    result = vrt(clip, "-o", out, *SEGMENTS, *options)
    assert result.exit_code == 2
    assert f"{out}.vrt holds 32 frames of a job with another {name}" in result.stderr
    assert f"{there} there, {here} here" in result.stderr
    assert "--restart" in result.stderr
    assert vrt(clip, "-o", out, *SEGMENTS, *options, "--restart").exit_code == 0
    assert not (tmp_path / "out.mkv.vrt").exists()


def test_another_input_is_refused(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    moved = clip.rename(tmp_path / "moved.mkv")
    other = make_video(tmp_path / "in.mkv", num_frames=59, size=SIZE)
    result = vrt(other, "-o", out, *SEGMENTS)
    assert result.exit_code == 2
    assert "a job with another input.bytes" in result.stderr
    assert vrt(moved, "-o", out, *SEGMENTS).exit_code == 0  # the same content under another name
    assert len(read_planes(out)) == 60


def test_another_model_is_refused(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    restorer = identity_restorer()
    restorer.runners[0].network.weight.data += 1  # type: ignore[operator]
    result = vrt(clip, "-o", out, *SEGMENTS, restorer=restorer)
    assert result.exit_code == 2
    assert "another model.sha256" in result.stderr


def test_two_processes_do_not_work_on_one_job(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    with FileLock(f"{out}.vrt/lock"):
        result = vrt(clip, "-o", out, *SEGMENTS)
    assert result.exit_code == 2
    assert f"another process works on {out}" in result.stderr
    assert vrt(clip, "-o", out, *SEGMENTS).exit_code == 0


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, folder = make_video(tmp_path / "in.mkv"), tmp_path / "out.mkv.vrt"
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")
    result = vrt(clip, "-o", tmp_path / "out.mkv", "--restart")
    assert result.exit_code == 2
    assert "it is no job of this program" in result.stderr
    assert [p.name for p in folder.iterdir()] == ["diary.txt"]


def test_files_of_the_user_in_the_folder_survive(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    (tmp_path / "out.mkv.vrt" / "notes.txt").write_text("mine")
    assert vrt(clip, "-o", out, *SEGMENTS).exit_code == 0
    assert [p.name for p in (tmp_path / "out.mkv.vrt").iterdir()] == ["notes.txt"]


def test_a_damaged_manifest_is_refused(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    manifest = tmp_path / "out.mkv.vrt" / "job.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**facts, "format": 99}))
    result = vrt(clip, "-o", out, *SEGMENTS)
    assert result.exit_code == 2
    assert "another version of this program" in result.stderr
    assert vrt(clip, "-o", out, *SEGMENTS, "--restart").exit_code == 0


def test_a_finished_output_is_left_alone(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", size=SIZE), tmp_path / "out.mkv"
    assert vrt(clip, "-o", out, *SEGMENTS).exit_code == 0
    before = out.stat()
    result = vrt(clip, "-o", out, *SEGMENTS)
    assert result.exit_code == 1
    assert "is there already; -y replaces it" in result.stderr
    assert out.stat().st_mtime_ns == before.st_mtime_ns


def test_join_needs_a_job(tmp_path: Path, vrt: VrtRestore) -> None:
    result = vrt.run("join", tmp_path)
    assert result.exit_code == 2
    assert "is no folder of a job" in result.stderr


@pytest.mark.parametrize("name", ["out.mkv", "some.mkv"])
def test_the_job_goes_on_after_a_join(tmp_path: Path, vrt: VrtRestore, name: str) -> None:
    """Also if what is there was joined under the name of the output."""
    clip, out = stopped_job(tmp_path, vrt)
    assert vrt.run("join", f"{out}.vrt", "-o", tmp_path / name).exit_code == 0
    assert len(read_planes(tmp_path / name)) == 40
    passes: list[int] = []
    result = vrt(clip, "-o", out, "-y", *SEGMENTS, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0, result.stderr
    assert len(passes) == 20
    assert len(read_planes(out)) == 60


def test_a_job_of_images_goes_on_after_a_join(tmp_path: Path, vrt: VrtRestore) -> None:
    (tmp_path / "in").mkdir()
    for n in range(40):
        write_image_file(tmp_path / "in" / f"{n:02d}.png", picture(n, 16, 16))

    def fail(n: int) -> None:
        if n == 20:
            raise OSError("the network drive is gone")

    out = tmp_path / "out"
    assert vrt(tmp_path / "in", "-o", out, restorer=identity_restorer(before_pass=fail)).exit_code == 1
    assert vrt.run("join", f"{out}.vrt").exit_code == 0
    assert len(list((tmp_path / "out.part").iterdir())) == 20
    passes: list[int] = []
    assert vrt(tmp_path / "in", "-o", out, restorer=identity_restorer(before_pass=passes.append)).exit_code == 0
    assert len(passes) == 40 - 16
    assert len(list(out.iterdir())) == 40


def test_what_a_killed_job_has_left_can_be_joined(tmp_path: Path, vrt: VrtRestore) -> None:
    """A kill leaves no record of the segment in work but that of its frames."""
    _, out = stopped_job(tmp_path, vrt)
    (tmp_path / "out.mkv.vrt" / "partial.json").unlink()
    assert vrt.run("join", f"{out}.vrt").exit_code == 0
    assert len(read_planes(tmp_path / "out.part.mkv")) == 40
