"""Measures the first and the later passes of a compiled network, and of its ONNX export, beside the uncompiled network.

    python benchmarks/compiling.py [--model denoise-small] [--size 6x64x64] [--runs 5] [--onnx]

All run in one process, in turns; times are medians, wall and CPU seconds. ``--onnx`` adds the exported network in
onnxruntime with its defaults and as many threads. The difference is the relative L2 distance to the uncompiled pass.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrt_core import export_onnx, find_model
from vrt_core.models import load_network
from vrt_core.network import compile_parts


def timed(run: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Return wall seconds, CPU seconds and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = run()
    return time.perf_counter() - wall, time.process_time() - cpu, out


def main() -> None:
    """Time every way of running the network and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise-small", help="name of a model")
    parser.add_argument("--size", default="6x64x64", help="clip, TxHxW")
    parser.add_argument("--runs", type=int, default=5, help="passes timed for each way")
    parser.add_argument("--onnx", action="store_true", help="also time the ONNX export")
    args = parser.parse_args()
    T, H, W = (int(x) for x in args.size.split("x"))
    network = load_network(find_model(args.model))
    clip = torch.rand(1, T, 3 + network.config.nonblind_denoising, H, W, generator=torch.Generator().manual_seed(0))
    clip[:, :, 3:] = 20 / 255
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], Tensor]] = {"plain": lambda: network(clip)}
        export_seconds, first = {"plain": 0.0, "compile=True": 0.0}, {}
        compiled = compile_parts(network)
        ways["compile=True"] = lambda: compiled(clip)
        if args.onnx:
            import onnxruntime

            start = time.perf_counter()
            path = export_onnx(network, Path(folder) / "network.onnx", frames=T, height=H, width=W)
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = torch.get_num_threads()
            session = onnxruntime.InferenceSession(path, settings)
            export_seconds["onnx"] = time.perf_counter() - start
            ways["onnx"] = lambda: torch.from_numpy(session.run(None, {"clip": clip.numpy()})[0])
        expected = network(clip)
        for name, run in ways.items():
            first[name] = timed(run)[0]
        timings = {name: [] for name in ways}
        for _ in range(args.runs):
            for name, run in ways.items():
                timings[name].append(timed(run))
        print("| network | clip | way | export s | first pass s | later s | gain | CPU s | gain | difference |")
        print("|---" * 10 + "|")
        plain = [statistics.median(run[i] for run in timings["plain"]) for i in (0, 1)]
        for name, runs in timings.items():
            wall, cpu = (statistics.median(run[i] for run in runs) for i in (0, 1))
            error = ((runs[-1][2] - expected).norm() / expected.norm()).item()
            cells = [args.model, args.size, name, f"{export_seconds[name]:.0f}", f"{first[name]:.1f}", f"{wall:.2f}"]
            cells += [f"{plain[0] / wall:.2f}x", f"{cpu:.2f}", f"{plain[1] / cpu:.2f}x", f"{error:.1e}"]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
