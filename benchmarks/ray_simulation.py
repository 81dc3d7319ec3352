"""Simulates a job on many GPUs: how long a film takes, and what binds.

    python benchmarks/ray_simulation.py [--gpus 1 8 64 256 1000] [--segment-frames 240 48 16] [--fps 1.75 0.44]

A discrete-event simulation of `vrt_jobs.cluster_dispatch` with the same `SegmentQueue`: workers start, decode up to
their segment, restore and encode it; one writer puts it on the disk; at most two segments a worker are in flight; lost
workers start again, and another one gets their segment. Nothing here runs on a GPU: `Assumptions` has every number with
its source. Columns: the time of the whole job, its efficiency (the GPU time of the frames alone over that of all GPUs),
and where the time of the workers goes, in percent of it.

Restoring is in turn with decoding only on the way to a segment; within it, decoding, network and encoder run in
parallel, and the slowest of them counts.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrt_jobs.cluster_dispatch import IN_FLIGHT_PER_WORKER
from vrt_jobs.cluster_plan import SegmentQueue
from vrt_media.clip import MediaError


@dataclass(frozen=True)
class Assumptions:
    """What a worker and a driver take."""

    num_frames: int = 2 * 3600 * 24
    """A film of two hours, 1920x1080, H.264 at 10 Mbit/s."""
    fps: float = 1.75
    """Frames per second of a GPU: 005 in fp16 on an H100 SXM at the roofline of `roofline.py`, which is 55.9 of
    256x256 pixels; computed, not measured."""
    stride_frames: int = 16
    """Frames from one window to the next; each segment restores one window more than it has strides."""
    decode_fps: float = 91.0
    """Measured on a core of machine D, 2026-11-28: 1080p with noise, H.264 at 10 Mbit/s; 55 at 28 Mbit/s."""
    encode_fps: float = 4 / 0.436
    """Measured there: x264, crf 16, medium takes 0.436 s of a core a frame; it runs in four threads."""
    frame_bytes: float = 356e3
    """Measured there, of the same clip, which is noisy: twice what film takes at crf 16, and more."""
    start_seconds: float = 30.0
    """From the job to a worker with its model. Measured on two cores: 9 s; set higher for CUDA and shared storage."""
    start_spread: float = 0.3
    """Standard deviation of the logarithm of the above; assumed."""
    speed_spread: float = 0.05
    """Standard deviation of the logarithm of the speed of a GPU, of its decoder and encoder; assumed."""
    lost_per_hour: float = 419 / (54 * 24 * 16384)
    """Workers that are lost: the 419 unexpected interruptions of 54 days on 16384 H100, as "The Llama 3 Herd of Models"
    (2024) reports."""
    segment_seconds: float = 0.022
    """Measured on machine D: a segment of one small packet, with all synchronisations of its data and record (ext4)."""
    write_bytes_per_second: float = 266e6
    """Measured there: 48 packets of 100 kB take 40 ms, less the above. A network of 10 Gbit/s carries 1250e6."""
    join_bytes_per_second: float = 112e6
    """Measured there: the join of a job of 72 MB."""


@dataclass
class Worker:
    """A simulated worker."""

    start_seconds: float
    speed: float
    position: int = 0
    """Frames that it has decoded."""


@dataclass
class Outcome:
    """What came out, in seconds; of workers, of all of them together."""

    elapsed: float = 0.0
    join: float = 0.0
    writer: float = 0.0
    start: float = 0.0
    decode: float = 0.0
    restore: float = 0.0
    repeated: float = 0.0
    num_lost: int = 0


@dataclass
class Simulation:
    """One job."""

    facts: Assumptions
    num_gpus: int
    segment_frames: int
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        facts, draw = self.facts, self.rng.lognormvariate
        self._queue = SegmentQueue(self.segment_frames, num_frames=facts.num_frames)
        self._workers = [
            Worker(draw(math.log(facts.start_seconds), facts.start_spread), draw(0, facts.speed_spread))
            for _ in range(self.num_gpus)
        ]
        self._events: list[tuple[float, int, str, int, int]] = []
        self._idle: set[int] = set()
        self._in_flight, self._writer_free = 0, 0.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Return how long the job takes."""
        now, outcome, facts = 0.0, self.outcome, self.facts
        for n in range(self.num_gpus):
            self._start(now, n)
        while not self._queue.is_complete:
            now, _, kind, n, index = heapq.heappop(self._events)
            if kind == "written":
                self._in_flight -= 1
                self._queue.finish(index, self._length(index))
            elif kind == "done":
                self._write(now, index)
                self._idle.add(n)
            elif kind == "ready":
                self._idle.add(n)
            else:
                self._in_flight -= 1
                outcome.num_lost += 1
                self._workers[n].position = 0
                self._queue.give_back(index, n, "lost")
                self._start(now, n)
            self._hand_out(now)
        outcome.join = facts.num_frames * facts.frame_bytes / facts.join_bytes_per_second
        outcome.elapsed = now + outcome.join
        return outcome

    def _schedule(self, at: float, kind: str, worker: int, index: int = -1) -> None:
        heapq.heappush(self._events, (at, len(self._events), kind, worker, index))

    def _start(self, now: float, n: int) -> None:
        self.outcome.start += self._workers[n].start_seconds
        self._schedule(now + self._workers[n].start_seconds, "ready", n)

    def _length(self, index: int) -> int:
        return min(self.segment_frames, self.facts.num_frames - index * self.segment_frames)

    def _hand_out(self, now: float) -> None:
        for n in sorted(self._idle):
            if self._in_flight >= IN_FLIGHT_PER_WORKER * self.num_gpus:
                return
            index = self._queue.take(n)
            if index is None:
                return
            self._idle.remove(n)
            self._in_flight += 1
            decode, restore, repeated = self._durations(self._workers[n], index)
            duration = decode + restore + repeated
            until_lost = self.rng.expovariate(self.facts.lost_per_hour / 3600)
            if until_lost < duration:
                self._schedule(now + until_lost, "lost", n, index)
                continue
            self.outcome.decode += decode
            self.outcome.restore += restore
            self.outcome.repeated += repeated
            self._schedule(now + duration, "done", n, index)

    def _durations(self, worker: Worker, index: int) -> tuple[float, float, float]:
        """Return the seconds to get to a segment, to restore it, and to restore its first window again."""
        facts, length, first = self.facts, self._length(index), index * self.segment_frames
        skipped = first - worker.position if first >= worker.position else first
        worker.position = first + length
        restore = length / min(facts.fps, facts.encode_fps, facts.decode_fps)
        repeated = facts.stride_frames / facts.fps if index else 0.0
        return skipped / facts.decode_fps / worker.speed, restore / worker.speed, repeated / worker.speed

    def _write(self, now: float, index: int) -> None:
        facts = self.facts
        seconds = facts.segment_seconds + self._length(index) * facts.frame_bytes / facts.write_bytes_per_second
        self._writer_free = max(self._writer_free, now) + seconds
        self.outcome.writer += seconds
        self._schedule(self._writer_free, "written", -1, index)


def main() -> None:
    """Print a row for each number of GPUs, length of segments and speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 256, 1000])
    parser.add_argument("--segment-frames", type=int, nargs="+", default=[240, 48, 16])
    parser.add_argument("--fps", type=float, nargs="+", default=[1.75, 0.44], help="frames per second of a GPU")
    parser.add_argument("--decode-fps", type=float, nargs="+", default=[91.0, math.inf], help="inf: free seeking")
    args = parser.parse_args()
    print(
        "| fps a GPU | decode fps | GPUs | segment | hours | efficiency | start | decode | again | idle | writer busy |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for fps in args.fps:
        for decode_fps in args.decode_fps:
            facts = replace(Assumptions(), fps=fps, decode_fps=decode_fps)
            for num_gpus in args.gpus:
                for segment_frames in args.segment_frames:
                    print(format_row(facts, num_gpus, segment_frames), flush=True)


def format_row(facts: Assumptions, num_gpus: int, segment_frames: int) -> str:
    """Simulate one job; return a row of the table."""
    try:
        outcome = Simulation(facts, num_gpus, segment_frames).run()
    except MediaError as error:
        return f"| {facts.fps} | {facts.decode_fps:g} | {num_gpus} | {segment_frames} | {error} |"
    total = num_gpus * outcome.elapsed
    busy = outcome.start + outcome.decode + outcome.restore + outcome.repeated
    shares = [outcome.start, outcome.decode, outcome.repeated, total - busy]
    cells = [
        f"{facts.fps:g}",
        f"{facts.decode_fps:g}",
        str(num_gpus),
        str(segment_frames),
        f"{outcome.elapsed / 3600:.2f}",
        f"{facts.num_frames / facts.fps / total:.0%}",
        *(f"{part / total:.0%}" for part in shares),
        f"{outcome.writer / (outcome.elapsed - outcome.join):.0%}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
