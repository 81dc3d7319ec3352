"""Inputs and outputs of jobs on workers, and what programs are told."""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import cast

import pytest

from tests.helpers.damaged_files import overwrite
from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.fake_pool import FakePool, clip_of, fake_cluster
from tests.jobs.jobs import SEGMENTS, SIZE
from tests.jobs.test_queue import events
from vrt_jobs.callbacks import Callbacks
from vrt_jobs.cluster_model import ClusterModel
from vrt_jobs.cluster_ray import RayCluster
from vrt_jobs.errors import JobError
from vrt_jobs.inputs import InputSource
from vrt_jobs.request import JobRequest
from vrt_media.encoding import Encoding


@pytest.mark.parametrize("is_folder", [False, True])
def test_workers_that_cannot_see_the_input_get_a_copy(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr("vrt_jobs.cluster_input.CHUNK_BYTES", 1000)
    if is_folder:
        clip = tmp_path / "in"
        clip.mkdir()
        for n in range(40):
            write_image_file(clip / f"{n:02d}.png", picture(n, 16, 16))
    else:
        clip = clip_of(tmp_path)
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert vrt(clip, "-o", whole, *SEGMENTS).exit_code == 0
    with fake_cluster(monkeypatch) as pool:
        pool.blind = {1}
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local", "--json")
        assert result.exit_code == 0, result.stderr
        assert len(pool.shared) > 3
        assert {worker for worker, _ in pool.submitted} == {0, 1}
        assert len(list(folder.iterdir())) == 1
        for worker in pool.workers.values():
            worker.close()
    assert list(folder.iterdir()) == []
    assert out.read_bytes() == whole.read_bytes()
    messages = [event["message"] for event in events(result.stderr) if event["type"] == "warning"]
    assert messages == ["host:1 cannot see the input; it is passed on through the object store"]


def test_images_are_those_of_one_process(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for n in range(40):
        write_image_file(tmp_path / "in" / f"a{n:02d}.png", picture(n, 16, 16))
    assert vrt(tmp_path / "in", "-o", tmp_path / "whole").exit_code == 0
    with fake_cluster(monkeypatch):
        result = vrt(tmp_path / "in", "-o", tmp_path / "out", "--ray", "local")
    assert result.exit_code == 0, result.stderr
    images = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert images == {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert len(images) == 40


def test_damage_is_that_of_one_process(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_video(tmp_path / "intact.mkv", num_frames=70, size=SIZE, audio=True)
    clip = overwrite(clip, tmp_path / "in.mkv", [20, 21, 45])
    alone = vrt(clip, "-o", tmp_path / "whole.mkv", *SEGMENTS, "--json")
    with fake_cluster(monkeypatch):
        result = vrt(clip, "-o", tmp_path / "out.mkv", *SEGMENTS, "--ray", "local", "--json")
    assert result.exit_code == alone.exit_code == 3
    ours, theirs = events(result.stderr), events(alone.stderr)
    assert ours[-1]["damage"] == theirs[-1]["damage"] != []
    warnings = [[e["message"] for e in parsed if e["type"] == "warning"] for parsed in (ours, theirs)]
    assert warnings[0] == warnings[1] != []
    assert (tmp_path / "out.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_damage_that_is_not_tolerated_ends_the_job(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_video(tmp_path / "intact.mkv", num_frames=70, size=SIZE, audio=True)
    clip = overwrite(clip, tmp_path / "in.mkv", [20, 21, 45])
    with fake_cluster(monkeypatch):
        result = vrt(clip, "-o", tmp_path / "out.mkv", *SEGMENTS, "--strict", "--ray", "local")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"vrt: {clip} is damaged: ")
    assert "frames are in " in result.stderr


def test_events_for_programs(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrt_jobs.cluster_dispatch.PROGRESS_SECONDS", 0.0)
    clip = clip_of(tmp_path)
    with fake_cluster(monkeypatch):
        result = vrt(clip, "-o", tmp_path / "out.mkv", *SEGMENTS, "--ray", "--json")
    parsed = events(result.stderr)
    assert parsed[0]["device"] == "2 workers (cpu)"
    workers = [event for event in parsed if event["type"] == "workers"]
    assert workers[-1]["dashboard"] == FakePool.dashboard
    assert sorted(workers[-1]["fps"]) == ["host:0", "host:1"]
    assert all(rate > 0 for rate in workers[-1]["fps"].values())
    segments = [(e["index"], e["first_frame"], e["frames"]) for e in parsed if e["type"] == "segment"]
    assert sorted(segments) == [(n, 16 * n, 16 if n < 4 else 6) for n in range(5)]


def test_workers_need_a_cluster(tmp_path: Path, vrt: VrtRestore) -> None:
    result = vrt(clip_of(tmp_path), "-o", tmp_path / "out.mkv", "--workers", "2")
    assert result.exit_code == 2
    assert "--ray" in result.stderr


def test_pipes_are_refused(tmp_path: Path) -> None:
    """Workers cannot read them."""
    model = ClusterModel(cast(RayCluster, None), None)
    source = InputSource(clip="-", rate=Fraction(25))
    request = JobRequest(source=source, output=str(tmp_path / "out.mkv"), encoding=Encoding())
    with pytest.raises(JobError, match=r"--ray restores files and folders to files and folders, not - to .*out\.mkv"):
        model.make_job(request, identity_restorer(), cast(Callbacks, None))
