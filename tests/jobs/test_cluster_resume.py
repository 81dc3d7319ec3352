"""Jobs on workers that are stopped, and go on with workers or without."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.video_files import read_planes
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.fake_pool import RESTORERS, clip_of, fake_cluster, whole_file
from tests.jobs.jobs import SEGMENTS, stopped_job
from tests.jobs.test_queue import events
from vrt_jobs.folder import JobFolder


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_job_of_workers_goes_on_without_them(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Segments may be missing in the middle."""
    clip, out, kind = clip_of(tmp_path), tmp_path / "out.mkv", RESTORERS["overlapping windows"]
    options = ("--segment-frames", "18")
    assert vrt(clip, "-o", tmp_path / "whole.mkv", *options, restorer=kind()).exit_code == 0
    with fake_cluster(monkeypatch, kind) as pool:
        pool.next_call = lambda waiting: len(waiting) - 1

        def fail(worker: int, index: int) -> None:
            if len(pool.submitted) > at:
                raise RuntimeError("a fault in the driver")

        pool.before = fail  # type: ignore[assignment]
        assert vrt(clip, "-o", out, *options, "--ray", "local", restorer=kind()).exit_code == 1
    result = vrt(clip, "-o", out, *options, restorer=kind())
    assert result.exit_code == 0, result.stderr
    assert len(read_planes(out)) == 70
    assert out.read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_a_job_goes_on_with_workers(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames of the segment in work are restored again, and deleted when it is there."""
    clip, out = stopped_job(tmp_path, vrt)
    with fake_cluster(monkeypatch) as pool:
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 0, result.stderr
    assert "going on after 32 finished frames" in result.stderr
    assert sorted(index for _, index in pool.submitted) == [2, 3]
    assert vrt(clip, "-o", tmp_path / "whole.mkv", *SEGMENTS).exit_code == 0
    assert out.read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv", "whole.mkv"]


def test_the_end_is_found_if_only_its_record_is_missing(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that was killed after the last segment, which is short."""
    clip, out = clip_of(tmp_path, 60), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip)
    for options in ((), ("--ray", "local")):
        with monkeypatch.context() as patch, fake_cluster(monkeypatch):

            def fail(folder: JobFolder, end: Any) -> None:
                raise OSError("the disk is gone")

            patch.setattr(JobFolder, "write_end", fail)
            assert vrt(clip, "-o", out, *SEGMENTS, "--ray", "local").exit_code == 1
        assert len(list((tmp_path / "out.mkv.vrt/segments").glob("*.json"))) == 4
        with fake_cluster(monkeypatch):
            result = vrt(clip, "-o", out, *SEGMENTS, *options, "--json")
        assert result.exit_code == 0, result.stderr
        assert events(result.stderr)[-1]["frames"] == 60
        assert out.read_bytes() == whole
        out.unlink()


def test_a_job_that_goes_on_with_other_threads_says_so(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch rounds otherwise on a CPU then."""
    clip, out = stopped_job(tmp_path, vrt)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    with fake_cluster(monkeypatch):
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 0
    assert "of torch, and goes on with 7: frames may differ in the last bit" in result.stderr


def test_other_settings_are_refused(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    with fake_cluster(monkeypatch) as pool:
        result = vrt(clip, "-o", out, *SEGMENTS, "--crf", "30", "--ray", "local")
    assert result.exit_code == 2
    assert "another output.settings.crf" in result.stderr
    assert pool.submitted == []


def test_the_first_ctrl_c_lets_the_segments_in_work_end(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip)
    with fake_cluster(monkeypatch) as pool:
        pool.before = lambda worker, index: signal.raise_signal(signal.SIGINT) if index == 1 else None
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
        assert result.exit_code == 130
        assert "stopping after the segments in work" in result.stderr
        assert not pool.waiting
        records = {path.stem for path in (tmp_path / "out.mkv.vrt/segments").glob("*.json")}
        assert records == {f"{index:06d}" for _, index in pool.submitted}
        assert len(records) < 5
    with fake_cluster(monkeypatch):
        assert vrt(clip, "-o", out, *SEGMENTS, "--ray", "local").exit_code == 0
    assert out.read_bytes() == whole


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_of(tmp_path)

    def interrupt_twice(worker: int, index: int) -> str | None:
        if index == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return None

    with fake_cluster(monkeypatch) as pool:
        pool.before = interrupt_twice
        result = vrt(clip, "-o", tmp_path / "out.mkv", *SEGMENTS, "--ray", "local")
    assert result.exit_code == 130
    assert pool.is_abandoned
    assert " frames are in " in result.stderr
