"""Jobs on workers: the file is that of one process, whatever becomes of the workers."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.fake_pool import RESTORERS, clip_of, fake_cluster, whole_file
from tests.jobs.jobs import SEGMENTS
from vrt_jobs.cluster_reader import PartReader
from vrt_jobs.disk import Disk
from vrt_jobs.folder import JobFolder
from vrt_media.container import count_frames


def in_random_order(seed: int) -> Callable[[Sequence[Any]], int]:
    rng = random.Random(seed)
    return lambda waiting: rng.randrange(len(waiting))


@pytest.mark.parametrize("kind", RESTORERS)
@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_file_is_that_of_one_process(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, kind: str, num_workers: int
) -> None:
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip, RESTORERS[kind])
    with fake_cluster(monkeypatch, RESTORERS[kind], num_workers) as pool:
        pool.next_call = in_random_order(num_workers)
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local", restorer=RESTORERS[kind]())
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes() == whole
    assert not (tmp_path / "out.mkv.vrt").exists()
    assert len({worker for worker, _ in pool.submitted}) == num_workers


@pytest.mark.parametrize("announced", [None, 10, 48, 64, 200])
def test_the_clip_ends_where_its_frames_end(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, announced: int | None
) -> None:
    """Containers announce wrong numbers, or none."""
    for num_frames in (48, 60):
        clip, out = clip_of(tmp_path, num_frames), tmp_path / f"out{num_frames}.mkv"
        whole = whole_file(vrt, clip)
        tmp_path.joinpath("whole.mkv").unlink()
        monkeypatch.setattr("vrt_media.reader.count_frames", lambda stream, rate: announced)
        with fake_cluster(monkeypatch, num_workers=3):
            result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
        monkeypatch.setattr("vrt_media.reader.count_frames", count_frames)
        assert result.exit_code == 0, result.stderr
        assert f"{num_frames} frames in " in result.stderr
        assert out.read_bytes() == whole


def test_a_worker_decodes_the_clip_once(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, out, opened, open_clip = clip_of(tmp_path), tmp_path / "out.mkv", list[int](), PartReader._open
    make_restorer = RESTORERS["chain"]

    def count(reader: PartReader) -> None:
        opened.append(1)
        open_clip(reader)

    monkeypatch.setattr(PartReader, "_open", count)
    with fake_cluster(monkeypatch, make_restorer):
        assert vrt(clip, "-o", out, *SEGMENTS, "--ray", "local", restorer=make_restorer()).exit_code == 0
    assert len(opened) == 2


@pytest.mark.parametrize("order", ["die", "die for good"])
def test_the_segment_of_a_lost_worker_is_restored_elsewhere(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole, deaths = whole_file(vrt, clip), list[int]()

    def die_once(worker: int, index: int) -> str | None:
        if index == 1 and not deaths:
            deaths.append(worker)
            return order
        return None

    with fake_cluster(monkeypatch) as pool:
        pool.before = die_once
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes() == whole
    workers = [worker for worker, index in pool.submitted if index == 1]
    assert len(workers) == 2
    assert workers[1] != workers[0] == deaths[0]
    assert "was lost, it " in result.stderr


def test_a_segment_that_kills_its_workers_is_named(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else is in work is written first."""
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip)
    with fake_cluster(monkeypatch) as pool:
        pool.before = lambda worker, index: "die" if index == 2 else None
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 1
    assert "segment 2 (output frames 32 to 47) ended 3 workers" in result.stderr
    assert "Traceback" not in result.stderr
    records = {path.stem for path in (tmp_path / "out.mkv.vrt/segments").glob("*.json")}
    assert records >= {"000000", "000001"}
    assert "000002" not in records
    assert vrt(clip, "-o", out, *SEGMENTS).exit_code == 0
    assert out.read_bytes() == whole


def test_no_worker_is_left(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_of(tmp_path)
    with fake_cluster(monkeypatch) as pool:
        pool.before = lambda worker, index: "die for good" if index > 0 else None
        result = vrt(clip, "-o", tmp_path / "out.mkv", *SEGMENTS, "--ray", "local")
    assert result.exit_code == 1
    assert "no worker is left: host:" in result.stderr
    assert "16 frames are in " in result.stderr


def test_a_worker_with_another_model_is_not_used(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip)
    with fake_cluster(monkeypatch) as pool:
        pool.workers[1].facts.model["versions"]["torch"] = "2.4.0"  # type: ignore[index]
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 0, result.stderr
    assert "is not used: versions " in result.stderr
    assert {worker for worker, _ in pool.submitted} == {0}
    assert out.read_bytes() == whole


def test_data_that_was_lost_on_its_way_is_computed_again(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip)
    with fake_cluster(monkeypatch) as pool:
        pool.lost_data = {0, 3}
        assert vrt(clip, "-o", out, *SEGMENTS, "--ray", "local").exit_code == 0
    assert sorted(index for _, index in pool.submitted).count(3) == 2
    assert out.read_bytes() == whole


def test_a_slow_writer_stops_the_workers(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two segments a worker are in flight, until the writer takes one."""
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole = whole_file(vrt, clip)
    with fake_cluster(monkeypatch) as pool:
        add, idle_rounds, wait = JobFolder.add, [0], pool.wait

        def add_slowly(folder: JobFolder, record: Any) -> None:
            while len(pool.submitted) < 4 and idle_rounds[0] < 3:
                pass  # until the workers have all that they get
            while idle_rounds[0] < 3:
                pass  # and wait
            assert len(pool.submitted) <= 4 + record.index
            add(folder, record)

        def count_idle_rounds(seconds: float) -> Any:
            idle_rounds[0] += not pool.waiting
            return wait(0)

        monkeypatch.setattr(JobFolder, "add", add_slowly)
        monkeypatch.setattr(pool, "wait", count_idle_rounds)
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 0, result.stderr
    assert pool.max_in_flight <= 4
    assert out.read_bytes() == whole


def test_a_full_disk_ends_the_job(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, out = clip_of(tmp_path), tmp_path / "out.mkv"
    whole, sync, calls = whole_file(vrt, clip), Disk.sync, list[int]()

    def fill(disk: Disk, file: Any) -> None:
        calls.append(1)
        if len(calls) == 6:  # of the third segment
            raise OSError(28, "No space left on device")
        sync(disk, file)

    with fake_cluster(monkeypatch) as pool, monkeypatch.context() as patch:
        patch.setattr(Disk, "sync", fill)
        result = vrt(clip, "-o", out, *SEGMENTS, "--ray", "local")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "frames are in " in result.stderr
    assert pool.is_abandoned
    assert vrt(clip, "-o", out, *SEGMENTS).exit_code == 0
    assert out.read_bytes() == whole
