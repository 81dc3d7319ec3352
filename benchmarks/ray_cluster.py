"""Measures a Ray cluster of this machine: speed of two workers beside one, memory of long clips, back-pressure.

    python benchmarks/ray_cluster.py speed [--model denoise-small] [--size 96x128] [--frames 320] [--runs 3]
    python benchmarks/ray_cluster.py memory [--frames 2000]
    python benchmarks/ray_cluster.py slow [--frames 640]

Needs the extra "jobs". Workers have one thread each. The cluster and its workers are started before the clock; the time
is that from the first segment that is handed out to the whole file, so it includes the join.

- speed: one worker and two in turns, with the median of the ratios. "By CPU time" is the CPU time of the one worker
  over that of the busier of the two, which other programs on the machine change little.
- memory, slow: encoded losslessly, so that results are large enough for the object store.
- memory: resident memory without what is shared, of driver and workers, and the object store, at a tenth, half and all
  of the clip.
- slow: first an encoder on one of two workers that takes 0.3 s longer for each frame, then a writer that takes 6 s
  longer for each segment. Segments in flight and the object store are measured meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from pipeline_overlap import make_clip  # noqa: E402

import vrt_media.encoded  # noqa: E402
from vrt_core import RestoreOptions, Restorer, load_restorer  # noqa: E402
from vrt_jobs.callbacks import Callbacks  # noqa: E402
from vrt_jobs.cluster import ClusterJob  # noqa: E402
from vrt_jobs.cluster_plan import Resources  # noqa: E402
from vrt_jobs.cluster_ray import RayCluster, RayPool  # noqa: E402
from vrt_jobs.disk import Disk  # noqa: E402
from vrt_jobs.events import JobEvents  # noqa: E402
from vrt_jobs.inputs import InputSource  # noqa: E402
from vrt_jobs.request import JobRequest  # noqa: E402
from vrt_media.encoding import Encoding  # noqa: E402

FRAME_SECONDS, SEGMENT_SECONDS = 0.3, 6.0
"""Time by which a slow encoder makes a frame, and a slow writer a segment take longer."""
MIB = 1 << 20


def load(model: str) -> Restorer:
    """Load a model in a worker."""
    return load_restorer(model, RestoreOptions(device="cpu"))


def load_with_slow_encoder(model: str, marker: str) -> Restorer:
    """Load a model; the first worker that does so gets an encoder that waits before each frame."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return load(model)
    encode = vrt_media.encoded.FrameEncoder.encode

    def encode_slowly(encoder: Any, frame: Any) -> Any:
        time.sleep(FRAME_SECONDS)
        return encode(encoder, frame)

    vrt_media.encoded.FrameEncoder.encode = encode_slowly  # type: ignore[method-assign]
    return load(model)


class SlowDisk(Disk):
    """A disk that takes seconds for each file of packets."""

    def replace(self, source: Path, target: Path) -> None:
        if target.suffix == ".packets":
            time.sleep(SEGMENT_SECONDS)
        super().replace(source, target)


class Meter(JobEvents):
    """Counts segments in flight; samples memory where it is asked for."""

    def __init__(self, pool: RayPool, at: Mapping[int, str] | None = None) -> None:
        self.samples: list[str] = []
        self.max_in_flight = self.max_store_bytes = 0
        self._pool, self._at, self._submit = pool, dict(at or {}), pool.submit
        self._num_submitted = self._num_written = self._num_frames = 0
        pool.submit = self._count  # type: ignore[method-assign]

    def _count(self, *arguments: Any) -> None:
        self._num_submitted += 1
        self.max_store_bytes = max(self.max_store_bytes, store_bytes())
        self.max_in_flight = max(self.max_in_flight, self._num_submitted - self._num_written)
        self._submit(*arguments)

    def on_segment(self, index: int, first_frame: int, num_frames: int) -> None:
        self._num_written += 1
        self._num_frames += num_frames
        self.max_store_bytes = max(self.max_store_bytes, store_bytes())
        for limit in [limit for limit in self._at if self._num_frames >= limit]:
            name = self._at.pop(limit)
            driver = private_bytes(os.getpid())
            workers = [private_bytes(n) for n in worker_processes()]
            sizes = [driver, *workers, store_bytes()]
            self.samples.append(f"| {name} | " + " | ".join(f"{size / MIB:.0f}" for size in sizes) + " |")


def private_bytes(process: int) -> int:
    """Return the resident memory of a process that is its own."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and all of its threads so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def worker_processes() -> list[int]:
    """Return the processes of actors, by number."""
    processes = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                words = (path / "cmdline").read_text()
            except OSError:
                continue
            processes += [int(path.name)] if "ray::_Actor" in words else []
    return sorted(processes)


def store_bytes() -> int:
    """Return what lies in the object store."""
    import ray  # pyright: ignore[reportMissingImports]
    from ray._private.internal_api import node_stats  # no public function tells  # pyright: ignore[reportMissingImports]

    (node,) = ray.nodes()
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"])
    return int(stats.store_stats.object_store_bytes_used)


def run_job(
    folder: Path,
    clip: Path,
    model: str,
    pool: RayPool,
    segment_frames: int,
    *,
    meter: Meter,
    codec: str = "libx264",
    disk: Disk | None = None,
) -> float:
    """Restore a clip on the workers of a pool; return the seconds."""
    restorer = load(model)
    out = folder / "out.mkv"
    out.unlink(missing_ok=True)
    request = JobRequest(
        source=InputSource(clip=str(clip), rate=Fraction(24)),
        output=str(out),
        model=model,
        encoding=Encoding(codec=codec),
        options=RestoreOptions(sigma_255=8.0 if restorer.needs_sigma else None),
        segment_frames=segment_frames,
    )
    job = ClusterJob(request, restorer, Callbacks(meter), pool, pool.first_facts())
    job.folder.disk = disk or job.folder.disk
    begin = time.perf_counter()
    with job.folder:
        job.run()
    return time.perf_counter() - begin


def start_pool(cluster: RayCluster, num_workers: int, load_model: Callable[[], Restorer]) -> RayPool:
    """Return a pool of workers that are all ready."""
    pool = cluster.start_pool(Resources(num_workers, "cpu", 1, 0), load_model)
    pool.first_facts()
    while len(pool.begin_job()) < num_workers:
        pool.wait(1.0)
    return pool


def measure_speed(cluster: RayCluster, folder: Path, args: argparse.Namespace) -> None:
    clip = folder / "in.mkv"
    make_clip(clip, args.frames, *args.size)
    print("| model | clip | run | one worker s | two workers s | faster | by CPU time | same file |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for run in range(args.runs):
        seconds, cpu, files = dict[int, float](), dict[int, float](), list[bytes]()
        for num_workers in (1, 2) if run % 2 == 0 else (2, 1):
            pool = start_pool(cluster, num_workers, partial(load, args.model))
            begins = {process: cpu_seconds(process) for process in worker_processes()}
            seconds[num_workers] = run_job(folder, clip, args.model, pool, args.segment_frames, meter=Meter(pool))
            cpu[num_workers] = max(cpu_seconds(process) - begin for process, begin in begins.items())
            files.append((folder / "out.mkv").read_bytes())
            pool.close()
        faster, by_cpu = seconds[1] / seconds[2], cpu[1] / cpu[2]
        ratios.append((faster, by_cpu))
        size = f"{args.frames}x{args.size[0]}x{args.size[1]}"
        same = "yes" if files[0] == files[1] else "NO"
        cells = [
            args.model,
            size,
            run,
            f"{seconds[1]:.2f}",
            f"{seconds[2]:.2f}",
            f"{faster:.2f}x",
            f"{by_cpu:.2f}x",
            same,
        ]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    print(f"median: {medians[0]:.2f}x, by CPU time {medians[1]:.2f}x")


def measure_memory(cluster: RayCluster, folder: Path, args: argparse.Namespace) -> None:
    clip = folder / "in.mkv"
    make_clip(clip, args.frames, *args.size)
    pool = start_pool(cluster, 2, partial(load, args.model))
    points = {args.frames // 10: "a tenth", args.frames // 2: "half", args.frames - args.segment_frames: "all"}
    meter = Meter(pool, points)
    seconds = run_job(folder, clip, args.model, pool, args.segment_frames, meter=meter, codec="ffv1")
    print("| of the clip | driver MiB | worker MiB | worker MiB | object store MiB |")
    print("|---|---|---|---|---|")
    print("\n".join(meter.samples))
    print(f"{args.frames} frames in {seconds:.0f} s; at most {meter.max_in_flight} segments in flight")


def measure_slow(cluster: RayCluster, folder: Path, args: argparse.Namespace) -> None:
    clip = folder / "in.mkv"
    make_clip(clip, args.frames, *args.size)
    print("| slow | s | at most in flight | object store MiB |")
    print("|---|---|---|---|")
    slow = partial(load_with_slow_encoder, args.model, str(folder / "slow"))
    for name, load_model, disk in (
        ("nothing", partial(load, args.model), Disk()),
        ("encoder of one worker", slow, Disk()),
        ("writer", partial(load, args.model), SlowDisk()),
    ):
        pool = start_pool(cluster, 2, load_model)
        meter = Meter(pool)
        seconds = run_job(folder, clip, args.model, pool, args.segment_frames, meter=meter, codec="ffv1", disk=disk)
        store = meter.max_store_bytes / MIB
        print(f"| {name} | {seconds:.1f} | {meter.max_in_flight} | {store:.1f} |", flush=True)
        pool.close()


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "slow"))
    parser.add_argument("--model", help="name of a model; denoise-small for speed, else denoise-fast")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(96, 128), help="HxW")
    parser.add_argument("--frames", type=int, help="length of the clip; 320, 2000 for memory, 640 for slow")
    parser.add_argument("--segment-frames", type=int, default=32, help="frames of a segment")
    parser.add_argument("--runs", type=int, default=3, help="of each number of workers")
    args = parser.parse_args()
    args.model = args.model or ("denoise-small" if args.what == "speed" else "denoise-fast")
    args.frames = args.frames or {"speed": 320, "memory": 2000, "slow": 640}[args.what]
    torch.set_num_threads(1)
    measure = {"speed": measure_speed, "memory": measure_memory, "slow": measure_slow}[args.what]
    cluster = RayCluster("local")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(cluster, Path(folder), args)
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
