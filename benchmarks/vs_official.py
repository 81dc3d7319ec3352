"""Time and memory of one forward pass, beside the published implementation, in one run on one machine.

    python benchmarks/vs_official.py --official DIR [--model 001] [--size 6x64x64] [--runs 5]

DIR is a checkout of the published VRT code (github.com/JingyunLiang/VRT); its own needs, torchvision and setuptools'
distutils, must be importable (``--path`` adds a folder to look in). Both sides get the same random weights and clip, in
float32, and run in fresh processes in turn; the second pass of each is timed, by the clock and by the processor time
that it took, which is the fairer one on a machine with other work. Peak memory is the most that the process held
resident in the first pass, above what it held before, weights loaded. The share of the floor is the time that the
products of our pass (linear layers, convolutions, attention) would take at the rate of a large square matrix product
in the same process, by the quicker of torch's two libraries, over the time that the pass took: processor time, both.
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
    """Samples resident memory every 2 ms in a thread; ``peak_bytes`` is the most above the start."""

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
        """Most resident memory above the start."""
        return self.highest - self.idle_bytes


def matrix_rate() -> float:
    """Return the FLOP per second of processor time of a large square matrix product, by the quicker library."""
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
    """Return the FLOP of our products for a clip of this shape, counted on tensors without contents."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vrt_core import build_network

    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        build_network(**config)(torch.zeros(shape))
    return counter.get_total_flops()


def run_once(side: str, args: argparse.Namespace) -> None:
    """Run one pass in this process and print its figures and some of its output as JSON."""
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
        if not args.single_pass:  # the watch is a load of its own: time a pass without it
            start, cpu_start = time.perf_counter(), time.process_time()
            out = network(clip)
        found = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
        floor = counted_flop(config, tuple(clip.shape)) / matrix_rate() if side == "ours" else 0.0
    sample = out.flatten()[:: max(out.numel() // 1000, 1)].tolist()
    print(json.dumps({**found, "floor_seconds": floor, "peak_bytes": memory.peak_bytes, "sample": sample}))


def main() -> None:
    """Compare, and print the medians as a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--model", default="001", help="beginning of a model's name")
    parser.add_argument("--size", default="6x64x64", help="TxHxW")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--path", action="append", default=[], help="folder to import torchvision or setuptools from")
    parser.add_argument("--single-pass", action="store_true", help="do not run a second pass to be timed")
    parser.add_argument("--once", choices=["ours", "official"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        return run_once(args.once, args)
    # not by torch.set_num_threads, which nobody need call: it slows fused attention by half (NOTES.md)
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    found: dict[str, list[dict]] = {"ours": [], "official": []}
    for _ in range(args.runs):
        for side, results in found.items():
            command = [sys.executable, "-W", "ignore", __file__, "--once", side, *sys.argv[1:]]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            seconds, cpu_seconds, peak = (results[-1][key] for key in ("seconds", "cpu_seconds", "peak_bytes"))
            print(f"  {side}: {seconds:.2f} s, {cpu_seconds:.2f} s of processor, {peak / 1e9:.2f} GB", file=sys.stderr)
    keys = ("seconds", "cpu_seconds", "floor_seconds", "peak_bytes")
    ours, official = ({key: statistics.median(r[key] for r in found[side]) for key in keys} for side in found)
    pairs = list(zip(found["ours"][0]["sample"], found["official"][0]["sample"], strict=True))
    difference = (sum((a - b) ** 2 for a, b in pairs) / sum(b * b for _, b in pairs)) ** 0.5
    row = {
        "model": args.model,
        "clip": args.size,
        "runs": args.runs,
        "threads": args.threads,
        "official s": f"{official['seconds']:.2f}",
        "ours s": f"{ours['seconds']:.2f}",
        "faster": f"{official['seconds'] / ours['seconds']:.2f}x",
        "by processor time": f"{official['cpu_seconds'] / ours['cpu_seconds']:.2f}x",
        "share of the floor": f"{ours['floor_seconds'] / ours['cpu_seconds']:.0%}",
        "official GB": f"{official['peak_bytes'] / 1e9:.2f}",
        "ours GB": f"{ours['peak_bytes'] / 1e9:.2f}",
        "share": f"{ours['peak_bytes'] / official['peak_bytes']:.2f}",
        "relative L2": f"{difference:.1e}",
    }
    print(f"| {' | '.join(row)} |", "|---" * len(row) + "|", f"| {' | '.join(map(str, row.values()))} |", sep="\n")


if __name__ == "__main__":
    main()
