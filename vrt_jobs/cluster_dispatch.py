"""Dispatcher of a job: hands segments out to workers, and their data to one writer.

A segment is in flight from the moment a worker gets it until its data is on the disk. At most two for each worker are,
so a writer that is slower than the workers stops them, and memory does not depend on the length of the clip. Data is
written as it comes, so that a driver that is killed loses none that has arrived; the join puts segments in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from vrt_core import Cancelled
from vrt_media.clip import MediaError

from .callbacks import Callbacks
from .cluster_plan import SegmentQueue
from .cluster_pool import DataLostError, SegmentDone, WorkerLost, WorkerPool, WorkerReady
from .cluster_worker import NO_INPUT, ClipJob, SegmentData, Summary
from .folder import End

IN_FLIGHT_PER_WORKER = 2
POLL_SECONDS = 0.25
PROGRESS_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""Time after which the user is told that no worker has started."""


class Dispatcher:
    """Restores the segments of a queue on the workers of a pool.

    Attributes:
        end: What is known at the end of the clip, None before.
        num_in_flight: Segments that workers have, or whose data is not written yet.
    """

    def __init__(
        self,
        pool: WorkerPool,
        queue: SegmentQueue,
        job: ClipJob,
        *,
        accept: Callable[[WorkerReady], str],
        store: Callable[[Summary, SegmentData], None],
        callbacks: Callbacks,
        num_finished: int = 0,
    ) -> None:
        """Describe the work; nothing is handed out yet.

        Args:
            pool: Workers.
            queue: Segments.
            job: What workers must know.
            accept: Returns why a worker cannot work for this job; "" if it can.
            store: Writes a segment to the disk; called in a thread of its own.
            callbacks: How the job is watched and stopped.
            num_finished: Output frames that are there already.
        """
        self._pool, self._queue, self._job, self._accept, self._store = pool, queue, job, accept, store
        self._callbacks, self._num_finished = callbacks, num_finished
        self._writer = ThreadPoolExecutor(1, "vrt-write")
        self._names: dict[int, str] = {}
        self._idle: set[int] = set()
        self._refused: dict[int, str] = {}
        self._in_work: dict[int, int] = {}
        self._unwritten: dict[Future[None], Summary] = {}
        self._notes: set[str] = set()
        self._rates = Rates()
        self._error: MediaError | None = None
        self._is_stopping = False
        self._begin_seconds = self._last_seconds = time.monotonic()
        self.end: End | None = None

    @property
    def num_in_flight(self) -> int:
        """Segments that workers have, or whose data is not written yet."""
        return len(self._in_work) + len(self._unwritten)

    def run(self) -> None:
        """Restore all segments.

        Raises:
            MediaError: If a segment cannot be restored; those that were in work are on the disk then.
            Cancelled: If a callback stopped the job; likewise, unless it was to stop at once.
        """
        try:
            for ready in self._pool.begin_job():
                self._on_ready(ready)
            while not (self._queue.is_complete and not self._unwritten):
                self._hand_out()
                for event in self._pool.wait(POLL_SECONDS):
                    self._on_event(event)
                self._collect_written()
                self._callbacks.check()
                self._check_patiently()
                self._report()
            self._callbacks.events.on_frame(self._num_finished)
        except BaseException:
            self._pool.abandon()
            raise
        finally:
            self._writer.shutdown()

    def _hand_out(self) -> None:
        limit = IN_FLIGHT_PER_WORKER * len(self._pool.names)
        for worker in sorted(self._idle):
            if self._is_stopping or self.num_in_flight >= limit:
                return
            index = self._queue.take(worker, self._pool.names)
            if index is None:
                continue
            self._idle.remove(worker)
            self._in_work[worker] = index
            self._rates.begin(worker)
            self._pool.submit(worker, self._job, index)

    def _check_patiently(self) -> None:
        """Stop where nothing is lost: when the segments in work are written."""
        if not self._is_stopping:
            try:
                self._callbacks.check_after_checkpoint()
            except Cancelled:
                self._is_stopping = True
        if self._is_stopping and not self.num_in_flight:
            if self._error is not None:
                raise self._error
            self._callbacks.check_after_checkpoint()
        if not self._pool.names:
            reasons = "; ".join(dict.fromkeys(self._refused.values()))
            raise MediaError(f"no worker is left: {reasons}")
        has_waited = time.monotonic() - self._begin_seconds > PATIENCE_SECONDS
        if has_waited and not (self._idle or self.num_in_flight or self._rates.has_any):
            self._note("no worker has started yet: the cluster may be busy, or lack what a worker needs")

    def _on_event(self, event: WorkerReady | SegmentDone | WorkerLost) -> None:
        if isinstance(event, WorkerReady):
            self._on_ready(event)
        elif isinstance(event, WorkerLost):
            self._on_lost(event)
        else:
            self._on_done(event.worker, event.summary, event.data)

    def _on_ready(self, event: WorkerReady) -> None:
        self._names[event.worker] = self._pool.names[event.worker]
        refusal = self._accept(event)
        if refusal:
            self._refused[event.worker] = refusal
            self._note(refusal)
            self._pool.dismiss(event.worker)
        else:
            self._idle.add(event.worker)

    def _on_lost(self, event: WorkerLost) -> None:
        name = self._name(event.worker)
        self._idle.discard(event.worker)
        self._in_work.pop(event.worker, None)
        self._rates.end(event.worker, 0)
        if event.is_gone:
            self._refused[event.worker] = f"{name}: {event.reason}"
        after = "it does not come back" if event.is_gone else "it is started again"
        self._note(f"{name} was lost, {after}: {event.reason}")
        if event.index is not None:
            self._give_back(event.index, event.worker, f"{name}: {event.reason}")

    def _on_done(self, worker: int, summary: Summary, data: Any) -> None:
        name = self._name(worker)
        self._in_work.pop(worker, None)
        self._rates.end(worker, summary.num_frames)
        for note in summary.notes:
            self._note(note)
        if summary.error == NO_INPUT:
            self._share_input(name)
            self._give_back(summary.index, worker, None)
        elif summary.error and summary.is_final:
            self._fail(MediaError(summary.error))
        elif summary.error:
            self._note(f"{name} failed, it is started again: {summary.error}")
            self._pool.restart(worker)
            self._give_back(summary.index, worker, f"{name}: {summary.error}")
            return
        elif summary.num_frames:
            self._unwritten[self._writer.submit(self._fetch_and_store, summary, data)] = summary
        else:
            self._finish(summary)
        self._idle.add(worker)

    def _fetch_and_store(self, summary: Summary, data: Any) -> None:
        self._store(summary, self._pool.fetch(data))

    def _collect_written(self) -> None:
        for future in [future for future in self._unwritten if future.done()]:
            summary = self._unwritten.pop(future)
            try:
                future.result()
            except DataLostError as error:
                self._note(f"segment {summary.index} was lost on its way, it is restored again: {error}")
                self._give_back(summary.index, -1, str(error))
                continue
            self._num_finished += summary.num_frames
            self._finish(summary)

    def _finish(self, summary: Summary) -> None:
        self.end = self.end or summary.end
        self._queue.finish(summary.index, summary.num_frames, None if summary.end is None else summary.end.num_frames)

    def _name(self, worker: int) -> str:
        """Return the name of a worker, also of one that is gone."""
        return self._names.get(worker, f"worker {worker}")

    def _give_back(self, index: int, worker: int, reason: str | None) -> None:
        try:
            self._queue.give_back(index, worker, reason)
        except MediaError as error:
            self._fail(error)

    def _fail(self, error: MediaError) -> None:
        """Hand out nothing more; the error is raised when the segments in work are written."""
        if self._error is None and self._in_work:
            self._note(f"{error}; the segments in work are finished first")
        self._error, self._is_stopping = self._error or error, True

    def _share_input(self, name: str) -> None:
        if not self._job.files:
            self._note(f"{name} cannot see the input; it is passed on through the object store")
            self._job = replace(self._job, files=self._pool.share(self._job.source))

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            self._callbacks.events.on_warning(text)

    def _report(self) -> None:
        """Tell how far the job is."""
        now = time.monotonic()
        if now - self._last_seconds < PROGRESS_SECONDS:
            return
        self._last_seconds, progress = now, self._pool.progress()
        waiting = sum(summary.num_frames for summary in self._unwritten.values())
        frames = {w: n for w, (index, n) in progress.items() if self._in_work.get(w) == index}
        events, names = self._callbacks.events, self._pool.names
        events.on_frame(self._num_finished + waiting + sum(frames.values()))
        rates = {names[worker]: rate for worker, rate in self._rates.fps(frames).items() if worker in names}
        events.on_workers(self._pool.dashboard, rates)


class Rates:
    """Frames per second of each worker, of the time in which it had a segment."""

    def __init__(self) -> None:
        self._num_frames: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self._begins: dict[int, float] = {}

    @property
    def has_any(self) -> bool:
        """Whether a worker ever had a segment."""
        return bool(self._num_frames)

    def begin(self, worker: int) -> None:
        """Take note that a worker gets a segment."""
        self._begins[worker] = time.monotonic()
        self._num_frames.setdefault(worker, 0)
        self._seconds.setdefault(worker, 0.0)

    def end(self, worker: int, num_frames: int) -> None:
        """Take note that it has returned it, or is lost."""
        begin = self._begins.pop(worker, None)
        if begin is not None:
            self._num_frames[worker] += num_frames
            self._seconds[worker] += time.monotonic() - begin

    def fps(self, in_work: dict[int, int]) -> dict[int, float]:
        """Return the rates; `in_work` has the frames so far of segments in work."""
        now = time.monotonic()
        rates = {}
        for worker, num_frames in self._num_frames.items():
            seconds = self._seconds[worker] + (now - self._begins[worker] if worker in self._begins else 0.0)
            total = num_frames + in_work.get(worker, 0)
            rates[worker] = total / seconds if seconds > 0 and total else 0.0
        return rates
