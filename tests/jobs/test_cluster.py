"""Jobs on workers: the file is that of one process, whatever becomes of the workers."""

import random
import signal
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.damaged_files import overwrite
from tests.helpers.fake_restorers import fake_restorer, fake_runner
from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture, read_planes
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.fake_pool import FakePool, fake_cluster
from tests.jobs.jobs import SEGMENTS, SIZE, stopped_job
from tests.jobs.test_queue import events
from vrt_core.restorer import Restorer
from vrt_jobs.cluster_reader import PartReader
from vrt_jobs.disk import Disk
from vrt_jobs.folder import JobFolder
from vrt_media.container import count_frames

RESTORERS: dict[str, Callable[[], Restorer]] = {
    "overlapping windows": lambda: fake_restorer(window=12, overlap=3),
    "interpolation": lambda: Restorer([fake_runner(interpolates=True)]),
    "chain": lambda: Restorer([fake_runner(scale=2, window=7, overlap=2), fake_runner(interpolates=True)]),
}
STAMPS = [n * 40 + (n % 3) * 9 for n in range(70)]


def clip_of(tmp_path: Path, num_frames: int = 70) -> Path:
    """A clip of variable rate with sound."""
    return make_video(
        tmp_path / "in.mkv", codec="libx264", num_frames=num_frames, size=SIZE, audio=True, stamps=STAMPS[:num_frames],
        time_base=Fraction(1, 1000),
    )  # fmt: skip


def whole_file(vrt: VrtRestore, clip: Path, make_restorer: Callable[[], Restorer] = identity_restorer) -> bytes:
    """The file of one process."""
    out = clip.with_name("whole.mkv")
    assert vrt(clip, "-o", out, *SEGMENTS, restorer=make_restorer()).exit_code == 0
    return out.read_bytes()


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


# --- jobs that go on ---


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
    assert "70 frames" in vrt.run("info", out).stdout or len(read_planes(out)) == 70
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


def test_other_settings_are_refused(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, out = stopped_job(tmp_path, vrt)
    with fake_cluster(monkeypatch) as pool:
        result = vrt(clip, "-o", out, *SEGMENTS, "--crf", "30", "--ray", "local")
    assert result.exit_code == 2
    assert "another output.settings.crf" in result.stderr
    assert pool.submitted == []


# --- stopping ---


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


# --- inputs and outputs ---


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


def test_what_cannot_be_read_again_is_refused(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vrt(clip_of(tmp_path), "-o", tmp_path / "out.mkv", "--workers", "2").exit_code == 2
