"""Measures the peak memory of a stream, short and long, each in a fresh process.

    python benchmarks/stream_memory.py [--model denoise-small] [--frames 60 400] [--size 64x64]

Frames are generated when the stream asks for them, so any growth is memory that the engine holds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_once(args: argparse.Namespace) -> None:
    """Stream one clip in this process and print its peak in bytes."""
    sys.path.insert(0, str(ROOT))
    import torch
    from vs_official import PeakMemory

    from vrt_core import load_restorer

    height, width = (int(x) for x in args.size.split("x"))
    restorer = load_restorer(args.model, device="cpu")
    sigma_255 = 30.0 if restorer.needs_sigma else None

    def frames(count: int) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        still = torch.rand(3, height, width, generator=generator)
        for _ in range(count):
            yield still + 0.1 * torch.randn(still.shape, generator=generator)

    with PeakMemory() as memory:
        num_restored = sum(1 for _ in restorer.stream(frames(args.frames[0]), sigma_255=sigma_255))
    assert num_restored == args.frames[0] * restorer.frame_factor
    print(memory.peak_bytes)


def main() -> None:
    """Compare the peak of each length with that of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise-small", help="name of a model")
    parser.add_argument("--frames", type=int, nargs="+", default=[60, 400], help="lengths of the clips")
    parser.add_argument("--size", default="64x64", help="frame, HxW")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        return run_once(args)
    print("| frames | peak above idle, MB | of the shortest |")
    print("|---|---|---|")
    first = None
    for count in args.frames:
        command = [
            sys.executable,
            __file__,
            "--once",
            "--model",
            args.model,
            "--size",
            args.size,
            "--frames",
            str(count),
        ]
        peak = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
        first = first or peak
        print(f"| {count} | {peak / 1e6:.0f} | {peak / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
