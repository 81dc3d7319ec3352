"""Workers as a job sees them: what it asks of them, and what they report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .cluster_input import SharedFile
from .cluster_worker import ClipJob, SegmentData, Summary, WorkerFacts
from .inputs import InputSource


@dataclass(frozen=True)
class WorkerReady:
    """A worker has loaded the model, at the start or after a restart."""

    worker: int
    facts: WorkerFacts


@dataclass(frozen=True)
class SegmentDone:
    """A worker has returned a segment, or why there is none."""

    worker: int
    summary: Summary
    data: Any
    """For `WorkerPool.fetch`."""


@dataclass(frozen=True)
class WorkerLost:
    """A worker died; it is ready again later, unless `is_gone`."""

    worker: int
    index: int | None
    """Segment that it had."""
    reason: str
    is_gone: bool = False


PoolEvent = WorkerReady | SegmentDone | WorkerLost


class DataLostError(Exception):
    """The data of a segment was lost with the machine that had it."""


class WorkerPool(Protocol):
    """Workers that hold one model; each restores one segment at a time."""

    dashboard: str
    """Address of a page that shows the cluster; "" if there is none."""

    @property
    def names(self) -> Mapping[int, str]:
        """Name of each worker that is ready or starts."""
        ...

    def tile_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the tile of each network for frames of this size, as the memory of a worker's device allows."""
        ...

    def begin_job(self) -> Sequence[WorkerReady]:
        """Return the workers that are ready and idle; forget what is left of an earlier job."""
        ...

    def submit(self, worker: int, job: ClipJob, index: int) -> None:
        """Let an idle worker restore a segment."""
        ...

    def wait(self, seconds: float) -> Sequence[PoolEvent]:
        """Wait until something happens, that long at most."""
        ...

    def fetch(self, data: Any) -> SegmentData:
        """Return the data of a segment; any thread may call this.

        Raises:
            DataLostError: If it was lost.
        """
        ...

    def share(self, source: InputSource) -> tuple[SharedFile, ...]:
        """Pass an input on to workers that cannot see it."""
        ...

    def restart(self, worker: int) -> None:
        """Replace the process of a worker that failed; it is reported as lost, then as ready."""
        ...

    def dismiss(self, worker: int) -> None:
        """End a worker for good."""
        ...

    def progress(self) -> Mapping[int, tuple[int, int]]:
        """Return the segment in work and its frames so far of workers that answered lately."""
        ...

    def abandon(self) -> None:
        """End all workers at once."""
        ...
