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
from tests.helpers.video_files import make_video, read_packets, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore
from vrt_core.restorer import Restorer

SIZE = (96, 128)
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
@pytest.mark.parametrize("at", [2, 5, 9])
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
    """Return the clip and the output of a job with two finished segments of 16 frames."""
    clip, out = make_video(tmp_path / "in.mkv", num_frames=60, size=SIZE), tmp_path / "out.mkv"

    def fail(n: int) -> None:
        if n == 40:
            raise OSError("the network drive is gone")

    result = vrt(clip, "-o", out, *options, restorer=identity_restorer(before_pass=fail))
    assert result.exit_code == 1
    records = (tmp_path / "out.mkv.vrt" / "segments").glob("*.json")
    assert sorted(path.stem for path in records) == ["000000", "000001"]
    return clip, out


def test_what_is_finished_is_not_done_again(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    passes: list[int] = []
    result = vrt(clip, "-o", out, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0
    assert len(passes) == 60 - 32
    assert "going on after 32 finished frames" in result.stderr
    assert "28 frames in " in result.stderr
    assert not (tmp_path / "out.mkv.vrt").exists()


def test_a_damaged_segment_is_restored_again(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    data = tmp_path / "out.mkv.vrt" / "segments" / "000000.packets"
    data.write_bytes(data.read_bytes()[:-1] + b"\0")
    passes: list[int] = []
    result = vrt(clip, "-o", out, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0, result.stderr
    assert f"segment 000000 in {out}.vrt is damaged; it is restored again" in result.stderr
    assert len(passes) in range(60 - 16, 60 - 16 + 3)  # the engine reads ahead at the end of the first
    assert vrt(clip, "-o", tmp_path / "whole.mkv").exit_code == 0
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
    result = vrt(clip, "-o", out, *options)
    assert result.exit_code == 2
    assert f"{out}.vrt holds 32 frames of a job with another {name}" in result.stderr
    assert f"{there} there, {here} here" in result.stderr
    assert "--restart" in result.stderr
    assert vrt(clip, "-o", out, *options, "--restart").exit_code == 0
    assert not (tmp_path / "out.mkv.vrt").exists()


def test_another_input_is_refused(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    moved = clip.rename(tmp_path / "moved.mkv")
    other = make_video(tmp_path / "in.mkv", num_frames=59, size=SIZE)
    result = vrt(other, "-o", out)
    assert result.exit_code == 2
    assert "a job with another input.bytes" in result.stderr
    assert vrt(moved, "-o", out).exit_code == 0  # the same content under another name
    assert len(read_planes(out)) == 60


def test_another_model_is_refused(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    restorer = identity_restorer()
    restorer.runners[0].network.weight.data += 1  # type: ignore[operator]
    result = vrt(clip, "-o", out, restorer=restorer)
    assert result.exit_code == 2
    assert "another model.sha256" in result.stderr


def test_two_processes_do_not_work_on_one_job(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    with FileLock(f"{out}.vrt/lock"):
        result = vrt(clip, "-o", out)
    assert result.exit_code == 2
    assert f"another process works on {out}" in result.stderr
    assert vrt(clip, "-o", out).exit_code == 0


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
    assert vrt(clip, "-o", out).exit_code == 0
    assert [p.name for p in (tmp_path / "out.mkv.vrt").iterdir()] == ["notes.txt"]


def test_a_damaged_manifest_is_refused(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    manifest = tmp_path / "out.mkv.vrt" / "job.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**facts, "format": 99}))
    result = vrt(clip, "-o", out)
    assert result.exit_code == 2
    assert "another version of this program" in result.stderr
    assert vrt(clip, "-o", out, "--restart").exit_code == 0


def test_a_finished_output_is_left_alone(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", size=SIZE), tmp_path / "out.mkv"
    assert vrt(clip, "-o", out).exit_code == 0
    before = out.stat()
    result = vrt(clip, "-o", out)
    assert result.exit_code == 1
    assert "is there already; -y replaces it" in result.stderr
    assert out.stat().st_mtime_ns == before.st_mtime_ns


def test_join_needs_a_job(tmp_path: Path, vrt: VrtRestore) -> None:
    result = vrt.run("join", tmp_path)
    assert result.exit_code == 2
    assert "is no folder of a job" in result.stderr
