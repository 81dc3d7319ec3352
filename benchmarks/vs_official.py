"""Measures time and memory of a forward pass, ours and the published implementation's, in turns on one machine.

    python benchmarks/vs_official.py --official DIR [--model 001] [--size 6x64x64] [--runs 5]

DIR is a checkout of the published VRT code (github.com/JingyunLiang/VRT); its requirements, torchvision and
setuptools' distutils, must be importable (``--path`` adds a folder to sys.path). Both sides get the same random weights
and clip, in float32, and run in fresh processes in turns. The second pass of each is timed, in wall seconds and in CPU
seconds, which are fairer on a machine with other work. Peak memory is the resident memory of the first pass above idle,
weights loaded. The share of the floor is the time that the matrix products of our pass (linear layers, convolutions,
attention) would take at the rate of a large square product in the same process, by the faster of torch's two libraries,
divided by the time of the pass; both in CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """Samples resident memory every 2 ms in a thread; ``peak_bytes`` is the maximum above the start."""

    def __enter__(self) -> PeakMemory:
        self.idle_bytes = self.highest = resident_bytes()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stop.wait(0.002):
            self.highest = max(self.highest, resident_bytes())

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.thread.join()

    @property
    def peak_bytes(self) -> int:
        """Maximum of resident memory above the start."""
        return self.highest - self.idle_bytes


def matrix_rate() -> float:
    """Return the FLOP per CPU second of a large square matrix product, by the faster library."""
    import torch
    import torch.nn.functional as F

    size, best = 1536, float("inf")
    a, b = torch.rand(2, size, size)
    pixels, kernel = a.view(16, 1, -1, size).permute(0, 3, 1, 2), b[:, :, None, None]
    for multiply in (lambda: torch.mm(a, b), lambda: F.conv2d(pixels, kernel)):  # MKL's, and oneDNN's
        for _ in range(5):
            start = time.process_time()
            multiply()
            best = min(best, time.process_time() - start)
    return 2 * size**3 / best


def counted_flop(config: dict, shape: tuple[int, ...]) -> int:
    """Return the FLOP of our matrix products for a clip of this shape, counted on meta tensors."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vrt_core import build_network

    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        build_network(**config)(torch.zeros(shape))
    return counter.get_total_flops()


def run_once(side: str, args: argparse.Namespace) -> None:
    """Run one side in this process and print its timing and a sample of its output as JSON."""
    sys.path[:0] = [str(ROOT), *args.path]
    import torch

    from vrt_core import build_network

    config = json.loads((ROOT / "tests/golden/layouts.json").read_text())
    name = next(n for n in config if n.startswith(args.model))
    config = config[name]["config"]
    torch.manual_seed(0)
    network = build_network(**config)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * (0.02 if p.ndim > 1 else 0.1))
    T, H, W = (int(x) for x in args.size.split("x"))
    torch.manual_seed(1)
    clip = torch.rand(1, T, 4 if config.get("nonblind_denoising") else 3, H, W)
    if side == "official":
        sys.path.insert(0, str(args.official))
        import setuptools  # noqa: F401  (brings distutils back, which the published code imports)
        from models.network_vrt import VRT  # type: ignore[import-not-found]

        weights = network.state_dict()
        network = VRT(**config).eval()
        network.load_state_dict(weights, strict=False)
    with torch.no_grad():
        start, cpu_start = time.perf_counter(), time.process_time()
        with PeakMemory() as memory:
            out = network(clip)
        if not args.single_pass:  # sampling costs time itself: time a pass without it
            start, cpu_start = time.perf_counter(), time.process_time()
            out = network(clip)
        timing = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
        floor = counted_flop(config, tuple(clip.shape)) / matrix_rate() if side == "ours" else 0.0
    sample = out.flatten()[:: max(out.numel() // 1000, 1)].tolist()
    print(json.dumps({**timing, "floor_seconds": floor, "peak_bytes": memory.peak_bytes, "sample": sample}))


def main() -> None:
    """Compare both sides and print the medians as a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, help="checkout of the published code")
    parser.add_argument("--model", default="001", help="beginning of a model's name")
    parser.add_argument("--size", default="6x64x64", help="clip, TxHxW")
    parser.add_argument("--runs", type=int, default=5, help="processes of each side")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="OMP_NUM_THREADS")
    parser.add_argument("--path", action="append", default=[], help="folder to import torchvision or setuptools from")
    parser.add_argument("--single-pass", action="store_true", help="time the first pass instead of a second one")
    parser.add_argument("--once", choices=["ours", "official"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        return run_once(args.once, args)
    # not by torch.set_num_threads: the call itself slows fused attention by half (LOG.md)
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    results: dict[str, list[dict]] = {"ours": [], "official": []}
    for _ in range(args.runs):
        for side, runs in results.items():
            command = [sys.executable, "-W", "ignore", __file__, "--once", side, *sys.argv[1:]]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            seconds, cpu_seconds, peak = (runs[-1][key] for key in ("seconds", "cpu_seconds", "peak_bytes"))
            print(f"  {side}: {seconds:.2f} s, {cpu_seconds:.2f} s of CPU time, {peak / 1e9:.2f} GB", file=sys.stderr)
    keys = ("seconds", "cpu_seconds", "floor_seconds", "peak_bytes")
    ours, official = ({key: statistics.median(r[key] for r in results[side]) for key in keys} for side in results)
    pairs = list(zip(results["ours"][0]["sample"], results["official"][0]["sample"], strict=True))
    difference = (sum((a - b) ** 2 for a, b in pairs) / sum(b * b for _, b in pairs)) ** 0.5
    row = {
        "model": args.model,
        "clip": args.size,
        "runs": args.runs,
        "threads": args.threads,
        "official s": f"{official['seconds']:.2f}",
        "ours s": f"{ours['seconds']:.2f}",
        "faster": f"{official['seconds'] / ours['seconds']:.2f}x",
        "by CPU time": f"{official['cpu_seconds'] / ours['cpu_seconds']:.2f}x",
        "share of the floor": f"{ours['floor_seconds'] / ours['cpu_seconds']:.0%}",
        "official GB": f"{official['peak_bytes'] / 1e9:.2f}",
        "ours GB": f"{ours['peak_bytes'] / 1e9:.2f}",
        "share": f"{ours['peak_bytes'] / official['peak_bytes']:.2f}",
        "relative L2": f"{difference:.1e}",
    }
    print(f"| {' | '.join(row)} |", "|---" * len(row) + "|", f"| {' | '.join(map(str, row.values()))} |", sep="\n")


if __name__ == "__main__":
    main()
