"""Order in which the segments of a job are given to workers, and what each worker gets; integers only.

The number of frames of a clip is known when a worker has reached its end. Until then, the segments are those that the
container announces, and one more to look for the end; if the clip goes on there, further ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vrt_media.clip import MediaError

from .errors import JobError

MAX_FAILURES = 3
"""Workers that a segment may cost; it is taken for the cause then."""


class SegmentQueue:
    """Segments that are to be restored, lowest first.

    Attributes:
        num_frames: Output frames of the clip, None until they are known.
    """

    def __init__(
        self,
        segment_frames: int,
        *,
        finished: Iterable[int] = (),
        expected_frames: int | None = None,
        num_frames: int | None = None,
    ) -> None:
        """Begin, or go on with a job.

        Args:
            segment_frames: Output frames of a segment.
            finished: Numbers of the segments that are there.
            expected_frames: Output frames that the container announces, None if it does not.
            num_frames: Output frames of the clip, if an earlier run has reached its end.
        """
        self._segment_frames = segment_frames
        self._finished = set(finished)
        self._in_work: set[int] = set()
        self._again: list[int] = []
        self._next = 0
        self._failures: defaultdict[int, list[int]] = defaultdict(list)  # workers that failed at each
        self._limit: int | None = None
        if expected_frames is not None:  # the last one shows the end, unless it is a whole segment
            self._limit = expected_frames // segment_frames + 1
        self.num_frames: int | None = None
        if num_frames is not None:
            self._end_at(num_frames)

    @property
    def is_complete(self) -> bool:
        """Whether the end of the clip is known, and all segments before it are there."""
        return self.num_frames is not None and self._limit is not None and len(self._finished) >= self._limit

    def take(self, worker: int = 0, workers: Iterable[int] = ()) -> int | None:
        """Return the next segment for a worker; None if there is none at the moment.

        Args:
            worker: Its number. A segment at which it failed is for others, as long as there are any.
            workers: Numbers of all workers.
        """
        if self.is_complete:
            return None
        workers = set(workers)
        for index in sorted(self._again):
            if worker not in self._failures[index] or workers <= set(self._failures[index]):
                self._again.remove(index)
                break
        else:
            index = self._take_next()
        if index is not None:
            self._in_work.add(index)
        return index

    def _take_next(self) -> int | None:
        while self._next in self._finished:
            self._next += 1
        if self._limit is not None and self._next >= self._limit and (self.num_frames is not None or self._in_work):
            return None
        self._next += 1
        return self._next - 1

    def finish(self, index: int, num_frames: int, clip_frames: int | None = None) -> None:
        """Take note that a segment is there.

        Args:
            index: Its number.
            num_frames: Its output frames; none if it lies behind the end of the clip.
            clip_frames: Output frames of the clip, if the worker has reached its end.
        """
        self._in_work.discard(index)
        if num_frames:
            self._finished.add(index)
        if clip_frames is not None:
            self._end_at(clip_frames)
        elif self.num_frames is None and self._limit is not None and index >= self._limit - 1:
            self._limit = None  # the container announced too few

    def give_back(self, index: int, worker: int = 0, reason: str | None = None) -> None:
        """Put a segment back, to be restored by another worker.

        Args:
            index: Its number.
            worker: Number of the worker that had it.
            reason: How that failed; None if it may get the segment again.

        Raises:
            MediaError: If that many workers have failed at it that it must be the cause.
        """
        self._in_work.discard(index)
        if self.num_frames is not None and index * self._segment_frames >= self.num_frames:
            return
        self._again.append(index)
        if reason is None:
            return
        self._failures[index].append(worker)
        if len(self._failures[index]) >= MAX_FAILURES:
            first = index * self._segment_frames
            raise MediaError(
                f"segment {index} (output frames {first} to {first + self._segment_frames - 1}) ended "
                f"{MAX_FAILURES} workers, so it is not tried again; the last one: {reason}"
            )

    def _end_at(self, num_frames: int) -> None:
        self.num_frames, self._limit = num_frames, -(-num_frames // self._segment_frames)
        self._again = [index for index in self._again if index < self._limit]


def cpu_share(node_cpus: Iterable[int], num_workers: int) -> int:
    """Return the largest number of processors that each of these workers can have; 0 if there are too few.

    Args:
        node_cpus: Processors of each machine.
        num_workers: Workers; each runs on one machine.
    """
    cpus = [int(number) for number in node_cpus]
    for share in range(max(cpus, default=0), 0, -1):
        if sum(number // share for number in cpus) >= num_workers:
            return share
    return 0


@dataclass(frozen=True)
class Resources:
    """What each worker gets."""

    num_workers: int
    device: str
    """cuda or cpu."""
    cpus: int
    """Processors, and threads of torch."""
    gpus: int


def plan_workers(nodes: Sequence[tuple[int, int]], device: str, num_workers: int | None) -> Resources:
    """Return what each worker gets.

    Args:
        nodes: (processors, GPUs) of each machine.
        device: auto, cuda or cpu, of each worker.
        num_workers: Number of workers; None for one for each GPU, or for each machine if there are none.

    Raises:
        JobError: If there are too few devices.
    """
    cpus, gpus = sum(node[0] for node in nodes), sum(node[1] for node in nodes)
    if device not in ("auto", "cpu", "cuda"):
        raise JobError(f"--device {device}: with --ray, workers get their devices from Ray; give auto, cpu or cuda")
    if device == "cuda" or (device == "auto" and gpus):
        number = gpus if num_workers is None else num_workers
        if not 0 < number <= gpus:
            raise JobError(f"--workers {number}: the cluster has {gpus} GPUs, and each worker needs one")
        return Resources(number, "cuda", max(1, min(node[0] // node[1] for node in nodes if node[1])), 1)
    number = sum(node[0] > 0 for node in nodes) if num_workers is None else num_workers
    share = cpu_share((node[0] for node in nodes), number)
    if not share:
        raise JobError(f"--workers {number}: the cluster has {cpus} processors, and each worker needs at least one")
    return Resources(number, "cpu", share, 0)
