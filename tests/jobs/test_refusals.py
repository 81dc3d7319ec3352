"""Jobs that do not go on, and files that are left alone."""

import json
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.identity import identity_restorer
from tests.helpers.video_files import make_video, read_planes
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.jobs import SEGMENTS, SIZE, stopped_job


@pytest.mark.parametrize(
    ("options", "name", "there", "here"),
    [
        (["--crf", "30"], "output.settings.crf", "16", "30"),
        (["--codec", "ffv1"], "output.codec", "libx264", "ffv1"),
        (["--start", "3"], "start", "0", "3"),
        (["--frames", "50"], "frames", "None", "50"),
        (["--cuts", "12,30"], "cuts", "auto", "[12, 30]"),
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
