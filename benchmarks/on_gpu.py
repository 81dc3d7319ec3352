"""Measures a network on a GPU: speed by precision and mode of execution, memory beside the planner, and transfers.

    python benchmarks/on_gpu.py [--models denoise-small 001 005] [--size 256x256] [--runs 5]

Needs a CUDA device and no weights: published models get random ones. Run the GPU tests first (CONTRIBUTING.md). For
each precision (float32 with and without TF32, float16, bfloat16) a pass of one window runs uncompiled and compiled, and
each of the two as a CUDA graph; times are medians, in turns. The difference is the relative L2 distance to the first
precision. Peak memory is the allocator's, above idle, beside the planner's estimate. Transfers: frames in host memory
go through the engine in tiles, compared with frames on the device. ``--device cpu`` runs the script without graphs and
memory, as a check of the script.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrt_core import VRT, RestoreOptions, build_network, estimate_memory, find_model, make_restorer
from vrt_core.hardware import pick_device
from vrt_core.network import compile_parts

PRECISIONS = {
    "fp32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "fp16": (torch.float16, False),
    "bf16": (torch.bfloat16, False),
}


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in matrix products and convolutions."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def make_network(model: str, device: torch.device) -> VRT:
    """Build a model with random weights, none of them zero, so that every layer contributes."""
    torch.manual_seed(0)
    network = build_network(**find_model(model).config)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * (0.02 if p.ndim > 1 else 0.1))
    return network.to(device)


def capture(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Capture a pass as a CUDA graph and return a function that replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay


def time_run(run: Callable[[], object], device: torch.device) -> float:
    """Return the wall seconds of a call, with the work that it queues on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def measure_passes(model: str, args: argparse.Namespace) -> None:
    """Print a row for every precision and mode of execution."""
    device, card = args.device, find_model(model)
    frames = 4 if card.task == "interpolate" else args.window or card.window_frames
    H, W = args.size
    references: list[Tensor] = []
    for name in args.precisions:
        dtype, allowed = PRECISIONS[name]
        with tf32(allowed), torch.inference_mode():
            network = make_network(model, device).to_precision(dtype)
            channels = 3 + network.config.nonblind_denoising
            clip = torch.rand(1, frames, channels, H, W, generator=torch.Generator().manual_seed(0)).to(device)
            clip = network.append_prior(clip)
            flows = network.clip_flows(clip) if network.uses_flows else None
            plain = lambda n=network, c=clip, f=flows: n(c, f)  # noqa: E731
            idle = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            out = plain().clone()
            peak = torch.cuda.max_memory_allocated(device) - idle if device.type == "cuda" else 0
            planned = estimate_memory(card.config, frames, H, W, dtype, device=device)
            references.append(out)
            ways: dict[str, Callable[[], Tensor]] = {"plain": plain}
            if device.type == "cuda":
                ways["graph"] = capture(plain)
            if not args.no_compile:
                parts = compile_parts(network)
                compiled = lambda n=parts, c=clip, f=flows: n(c, f)  # noqa: E731
                ways["compiled"] = compiled
                if device.type == "cuda":
                    ways["compiled graph"] = capture(compiled)
            first = {way: time_run(run, device) for way, run in ways.items()}
            timings: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(args.runs):
                for way, run in ways.items():
                    timings[way].append(time_run(run, device))
            for way, times in timings.items():
                median, restored = statistics.median(times), ways[way]()
                error = ((restored - references[0]).norm() / references[0].norm()).item()
                cells = [model, f"{frames}x{H}x{W}", name, way, f"{first[way]:.1f}"]
                cells += [f"{1000 * median:.1f}", f"{restored.shape[1] / median:.2f}", f"{error:.1e}"]
                cells += [f"{planned / 1e9:.3f}", f"{peak / 1e9:.3f}", f"{planned / peak:.2f}" if peak else "-"]
                print(f"| {' | '.join(cells)} |", flush=True)


def measure_transfers(model: str, args: argparse.Namespace) -> None:
    """Print the time for frames in host memory and for frames on the device, through the engine in tiles."""
    device, card = args.device, find_model(model)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = make_network(model, device)
    restorer = make_restorer([(network, card)], RestoreOptions(tile_px=args.tile), device=device, dtype=dtype)
    on_host = torch.rand(args.frames, 3, *args.size, generator=torch.Generator().manual_seed(0))
    on_device = on_host.to(device)
    options: dict[str, Any] = {"sigma_255": 20 if restorer.needs_sigma else None, "cuts": "off"}
    timings: dict[str, list[float]] = {"host": [], "device": []}
    for run in range(args.runs + 1):
        for name, frames in (("host", on_host), ("device", on_device)):
            took = time_run(lambda f=frames: restorer.restore(f, **options), device)
            timings[name] += [took] if run else []  # run 0 is the warm-up
    host_s, device_s = (statistics.median(times) for times in timings.values())
    print(f"| {model} | {args.frames}x{args.size[0]}x{args.size[1]} | {args.tile} | {device_s:.3f} | {host_s:.3f} "
          f"| {host_s / device_s:.3f} |", flush=True)  # fmt: skip


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"), help="torch device")
    parser.add_argument("--models", nargs="+", default=["denoise-small", "001", "005", "009"], help="names of models")
    parser.add_argument(
        "--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS, help="precisions to compare"
    )
    parser.add_argument(
        "--size", default="256x256", type=lambda text: tuple(int(x) for x in text.split("x")), help="frame, HxW"
    )
    parser.add_argument("--window", type=int, help="frames in a window; default: the model's own number")
    parser.add_argument("--frames", type=int, default=36, help="length of the clip that is transferred")
    parser.add_argument("--tile", type=int, default=128, help="side of the tiles for the transfer, px")
    parser.add_argument("--runs", type=int, default=5, help="runs timed for each row")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    args = parser.parse_args()
    args.device = pick_device(args.device)
    if args.device.type == "cuda":
        torch.cuda.set_device(args.device)  # streams and graphs are made on the current device
        print(f"{torch.cuda.get_device_name(args.device)}, torch {torch.__version__}\n")
    columns = ["model", "pass", "precision", "mode", "first pass s", "later ms", "frames/s", "difference"]
    columns += ["planned GB", "peak GB", "planned / peak"]
    print(f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", sep="\n")
    for model in args.models:
        measure_passes(model, args)
    print("\n| model | clip | tile | frames on the device s | in host memory s | ratio |", "|---" * 6 + "|", sep="\n")
    for model in args.models:
        measure_transfers(model, args)


if __name__ == "__main__":
    main()
