"""Workers in this process, one after another, whose deaths and order a test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_restorers import fake_restorer, fake_runner
from tests.helpers.identity import identity_restorer
from tests.helpers.video_files import make_video
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.jobs import SEGMENTS, SIZE
from vrt_cli.commands import restore as restore_command
from vrt_core import Restorer
from vrt_jobs.callbacks import Callbacks
from vrt_jobs.cluster import ClusterJob
from vrt_jobs.cluster_input import SharedFile, share_input
from vrt_jobs.cluster_pool import DataLostError, PoolEvent, SegmentDone, WorkerLost, WorkerReady
from vrt_jobs.cluster_worker import ClipJob, SegmentData, SegmentWorker
from vrt_jobs.inputs import InputSource
from vrt_jobs.request import JobRequest


class FakePool:
    """Workers that restore a segment while the pool waits.

    Attributes:
        submitted: (worker, segment) in the order in which they were handed out.
        waiting: Those that have not been restored yet.
        unfetched: Segments whose data was not fetched.
        is_abandoned: Whether all workers were ended at once.
        before: Called before a segment is restored; "die" kills the worker, "die for good" for ever.
        next_call: Returns which of the waiting calls ends next.
        blind: Workers that cannot see the input where it is.
        lost_data: Segments whose data is lost once.
    """

    dashboard = "http://127.0.0.1:8265"

    def __init__(self, make_restorer: Callable[[], Restorer], num_workers: int) -> None:
        self._make_restorer = make_restorer
        self.workers = {n: self._new_worker() for n in range(num_workers)}
        self.submitted: list[tuple[int, int]] = []
        self.waiting: list[tuple[int, ClipJob, int]] = []
        self.max_in_flight = 0
        self.unfetched: set[int] = set()
        self.is_abandoned = False
        self.before: Callable[[int, int], str | None] = lambda worker, index: None
        self.next_call: Callable[[Sequence[tuple[int, ClipJob, int]]], int] = lambda waiting: 0
        self.blind: set[int] = set()
        self.lost_data: set[int] = set()
        self.shared: list[bytes] = []
        self._restarted: list[int] = []

    def _new_worker(self) -> SegmentWorker:
        return SegmentWorker(self._make_restorer, lambda chunk: self.shared[chunk])

    @property
    def names(self) -> Mapping[int, str]:
        return {worker: f"host:{worker}" for worker in self.workers}

    def tile_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        return self.workers[0].tile_sizes(height, width)

    def begin_job(self) -> Sequence[WorkerReady]:
        self.waiting.clear()
        return [WorkerReady(worker, self.workers[worker].facts) for worker in self.workers]

    def submit(self, worker: int, job: ClipJob, index: int) -> None:
        assert worker not in [call[0] for call in self.waiting], "a worker restores one segment at a time"
        self.submitted.append((worker, index))
        self.waiting.append((worker, job, index))
        self.max_in_flight = max(self.max_in_flight, len(self.waiting) + len(self.unfetched))

    def wait(self, seconds: float) -> Sequence[PoolEvent]:
        if self._restarted:
            worker = self._restarted.pop()
            self.workers[worker] = self._new_worker()
            return [WorkerReady(worker, self.workers[worker].facts)]
        if not self.waiting:
            return []
        worker, job, index = self.waiting.pop(self.next_call(self.waiting))
        order = self.before(worker, index)
        if order == "die for good":
            del self.workers[worker]
            return [WorkerLost(worker, index, "the machine is gone", is_gone=True)]
        if order == "die":
            self._restarted.append(worker)
            return [WorkerLost(worker, index, "it was killed")]
        if worker in self.blind:
            elsewhere = Path("/elsewhere") / Path(job.source.clip).name
            job = replace(job, source=replace(job.source, clip=str(elsewhere)))
        summary, data = self.workers[worker].restore(job, index)
        self.unfetched |= {index} if summary.num_frames else set()
        return [SegmentDone(worker, summary, (index, data))]

    def fetch(self, data: tuple[int, SegmentData]) -> SegmentData:
        index, content = data
        self.unfetched.discard(index)
        if index in self.lost_data:
            self.lost_data.discard(index)
            raise DataLostError("its machine is gone")
        return content

    def share(self, source: InputSource) -> tuple[SharedFile, ...]:
        def put(chunk: bytes) -> int:
            self.shared.append(chunk)
            return len(self.shared) - 1

        return share_input(source, put)

    def restart(self, worker: int) -> None:
        self._restarted.append(worker)

    def dismiss(self, worker: int) -> None:
        del self.workers[worker]

    def progress(self) -> Mapping[int, tuple[int, int]]:
        return {worker: self.workers[worker].progress for worker in self.workers}

    def abandon(self) -> None:
        self.is_abandoned = True
        self.workers.clear()


class FakeCluster:
    """Stands in for the cluster of `vrt restore --ray`."""

    def __init__(self, pool: FakePool, make_restorer: Callable[[], Restorer]) -> None:
        self._pool, self._make_restorer = pool, make_restorer

    def load(self, *arguments: Any) -> Restorer:
        return self._make_restorer()

    def make_job(self, request: JobRequest, restorer: Restorer, callbacks: Callbacks) -> ClusterJob:
        return ClusterJob(request, restorer, callbacks, self._pool, self._pool.workers[0].facts)


@contextmanager
def fake_cluster(
    monkeypatch: pytest.MonkeyPatch, make_restorer: Callable[[], Restorer] = identity_restorer, num_workers: int = 2
) -> Iterator[FakePool]:
    """Let `vrt restore --ray` use a fake pool."""
    pool = FakePool(make_restorer, num_workers)

    @contextmanager
    def connect(ray: str | None, workers: int | None) -> Iterator[FakeCluster | None]:
        yield None if ray is None else FakeCluster(pool, make_restorer)

    with monkeypatch.context() as patch:
        patch.setattr(restore_command, "_connect", connect)
        yield pool


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
