"""Jobs that go on: what is done again, and what comes out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_restorers import fake_restorer, fake_runner
from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture, read_packets, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.jobs import SEGMENTS, SIZE, plan_of, stopped_job
from vrt_core.restorer import Restorer
from vrt_jobs.folder import JobFolder
from vrt_jobs.job import checkpoint_length, segment_length

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


def test_a_job_whose_input_cannot_be_read_loses_nothing(tmp_path: Path, vrt: VrtRestore) -> None:
    """The job fails before it has read what is finished."""
    clip, out = stopped_job(tmp_path, vrt)
    before = {p: p.read_bytes() for p in (tmp_path / "out.mkv.vrt").rglob("*") if p.is_file() and p.name != "lock"}
    content = clip.read_bytes()
    clip.write_bytes(b"broken")
    result = vrt(clip, "-o", out, *SEGMENTS)
    assert result.exit_code == 1
    assert "no video or image that can be read" in result.stderr
    assert {p: p.read_bytes() for p in before} == before
    clip.write_bytes(content)
    result = vrt(clip, "-o", out, "--codec", "nonsense")
    assert result.exit_code == 1
    assert {p: p.read_bytes() for p in before} == before
    passes: list[int] = []
    assert vrt(clip, "-o", out, *SEGMENTS, restorer=identity_restorer(before_pass=passes.append)).exit_code == 0
    assert len(passes) == 20


def test_a_job_that_fails_again_before_a_frame_loses_nothing(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)

    def fail(n: int) -> None:
        raise OSError("the network drive is gone")

    result = vrt(clip, "-o", out, *SEGMENTS, restorer=identity_restorer(before_pass=fail))
    assert f"failed: 40 frames are in {out}.vrt" in result.stderr
    passes: list[int] = []
    assert vrt(clip, "-o", out, *SEGMENTS, restorer=identity_restorer(before_pass=passes.append)).exit_code == 0
    assert len(passes) == 20


def output_with_its_job(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return clip and whole output of a job that was killed before it deleted its folder."""
    clip, out = make_video(tmp_path / "in.mkv", num_frames=20, size=SIZE), tmp_path / "out.mkv"
    with monkeypatch.context() as patch:
        patch.setattr(JobFolder, "remove", lambda self: None)
        assert vrt(clip, "-o", out).exit_code == 0
    assert (tmp_path / "out.mkv.vrt").exists()
    return clip, out


def test_an_output_that_is_whole_is_not_made_again(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out = output_with_its_job(tmp_path, vrt, monkeypatch)
    before, passes = out.read_bytes(), list[int]()
    result = vrt(clip, "-o", out, "-y", restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0
    assert "was whole already" in result.stderr
    assert passes == []
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_an_output_of_other_settings_is_made(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, out = output_with_its_job(tmp_path, vrt, monkeypatch)
    assert "is there already; -y replaces it" in vrt(clip, "-o", out, "--frames", "5").stderr
    assert vrt(clip, "-o", out, "--frames", "5", "-y").exit_code == 0
    assert len(read_planes(out)) == 5


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
    sizes = ((96, 128), (1080, 1920), (2160, 3840))
    assert [segment_length(restorer, plan_of(*size)) for size in sizes] == [234, 234, 72]
    assert segment_length(restorer, plan_of(8640, 15360)) == 18
    assert segment_length(restorer, None) == checkpoint_length(restorer) == 18


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
