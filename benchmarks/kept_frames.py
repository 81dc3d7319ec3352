"""Measures the cost of overlaps: work per output frame relative to a single window, and flicker at window borders.

    python benchmarks/kept_frames.py [--windows 12/2 18/2 24/2] [--frames 100 345]
    python benchmarks/kept_frames.py --tiles

Neighbouring windows share frames, neighbouring tiles share pixels, and shared ones are computed twice. The work of a
clip is the FLOP of all passes of its plan, counted on meta tensors, over that of as many frames in windows without
neighbours. Flicker and quality are measured: ``denoise-small`` restores a still picture with fresh noise in every
frame; the change from frame to frame at window borders is compared with that elsewhere, as in ``vs_flicker.py``, and
the CPU time per frame with that of a single window. ``--tiles`` prints computed pixels per output pixel, for some frame
sizes and amounts of memory, for the planner's tiles and for the largest square of a ladder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from vrt_core import Plan, build_network, estimate_memory, find_model, load_restorer  # noqa: E402
from vrt_core.inference.tile_plan import choose_tile_size, make_tiling  # noqa: E402

LADDER_PX = (1024, 768, 512, 384, 256, 192, 128, 96, 64)


@cache
def pass_flop(model: str, frames: int, side: int) -> int:
    """Return the FLOP of one pass without optical flow, which windows share."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = build_network(**find_model(model).config)
        clip = torch.zeros(1, frames, 3 + network.config.nonblind_denoising, side, side)
        pyramid = tuple(torch.zeros(1, frames - 1, 2, side >> i, side >> i) for i in range(4))
        network(clip, (pyramid, pyramid))
    return counter.get_total_flops()


def work(model: str, plan: Plan, window: int, side: int) -> float:
    """Return the work of a plan per output frame, relative to a frame in a single window."""
    lengths = [len(segment) for item in plan for segment in item.segments]
    flop = sum(pass_flop(model, length, side) for length in lengths)
    return flop / plan.num_frames / (pass_flop(model, window, side) / window)


def still_picture(height: int, width: int) -> Tensor:
    """Return the centre crop of the first frame of the demo clip, (3, H, W) in [0, 1]."""
    import av

    with av.open(str(ROOT / "demo/bird.mp4")) as file:
        rgb = torch.from_numpy(next(file.decode(video=0)).to_ndarray(format="rgb24")).movedim(-1, 0) / 255
    top, left = (rgb.shape[1] - height) // 2, (rgb.shape[2] - width) // 2
    return rgb[:, top : top + height, left : left + width]


def measure_windows(args: argparse.Namespace) -> None:
    """Print work, time, flicker and quality for pairs of window and overlap."""
    torch.set_num_threads(1)
    H, W = (int(x) for x in args.size.split("x"))
    picture = still_picture(H, W)
    count = args.frames[0]
    clip = picture + args.sigma / 255 * torch.randn(count, 3, H, W, generator=torch.Generator().manual_seed(0))
    columns = ["window/overlap", *(f"work, {n} frames" for n in args.frames), "CPU s/frame", "over a single window"]
    columns += ["change at borders", "elsewhere", "ratio", "largest", "PSNR"]
    print(f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", sep="\n")
    for pair in args.windows:
        window, overlap = (int(x) for x in pair.split("/"))
        restorer = load_restorer("denoise-small", device="cpu", window_frames=window, overlap_frames=overlap, tile_px=0)
        restore = partial(restorer.restore, sigma_255=args.sigma, cuts="off")
        cells = [pair]
        for n in args.frames:
            cells.append(f"{work('denoise-small', restorer.plan(n, H, W), window, 64):.3f}")
        restore(clip[:window])  # warm-up
        alone = min(timed(partial(restore, clip[:window]))[0] for _ in range(3)) / window
        cpu_seconds, restored = timed(partial(restore, clip))
        cpu_seconds /= count
        restored = restored.clamp(0, 1)
        change = 255 * (restored[1:] - restored[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
        stride = window - overlap
        # change[i] is between frames i and i + 1; a border spans the overlap + 1 changes into k * stride .. + overlap
        borders = {k * stride + i - 1 for k in range(1, count // stride + 1) for i in range(overlap + 1)}
        at = torch.tensor([i in borders for i in range(len(change))])
        error = (restored - picture).square().mean(dim=(1, 2, 3))
        cells += [
            f"{cpu_seconds:.3f}",
            f"{cpu_seconds / alone:.3f}",
            f"{change[at].mean():.3f}",
            f"{change[~at].mean():.3f}",
        ]
        cells += [f"{change[at].mean() / change[~at].mean():.3f}", f"{change.max():.3f}"]
        cells.append(f"{-10 * error.log10().mean():.3f}")
        print(f"| {' | '.join(cells)} |", flush=True)


def timed(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return CPU seconds and the result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def compute_tiles(args: argparse.Namespace) -> None:
    """Print computed pixels per output pixel; by the planner, not measured."""
    print("| model | frames | memory GB | chosen tile | tiles | work | largest square of the ladder | work |")
    print("|---|---|---|---|---|---|---|---|")
    for model in args.models:
        card = find_model(model)
        for size in ((360, 640), (720, 1280), (1080, 1920)):
            padded = -(-size[0] // 8) * 8, -(-size[1] // 8) * 8
            for gb in (6, 12, 24):
                usable_bytes = int(0.8 * gb * 1e9)

                def peak_bytes(tile: tuple[int, int], card: Any = card) -> int:
                    return estimate_memory(card.config, card.window_frames, *tile, torch.float16, device="cuda")

                chosen_px = choose_tile_size(padded, 64, None, 8, lambda t, limit=usable_bytes: peak_bytes(t) <= limit)
                chosen = make_tiling(padded, chosen_px, None, 8)
                squares = ((min(padded[0], px), min(padded[1], px)) for px in (4096, *LADDER_PX))
                square = make_tiling(padded, next(t for t in squares if peak_bytes(t) <= usable_bytes), None, 8)
                cells = [f"{card.name[:14]}", f"{card.window_frames}x{size[0]}x{size[1]}", f"{gb}"]
                for tiling in (chosen, square):
                    ratio = len(tiling) * tiling.tile[0] * tiling.tile[1] / (padded[0] * padded[1])
                    count = [f"{len(tiling)}"] if tiling is chosen else []
                    cells += [f"{tiling.tile[0]}x{tiling.tile[1]}", *count, f"{ratio:.2f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure windows, or compute the cost of tiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", nargs="+", default=["12/2", "18/2", "24/2", "18/3"], help="window/overlap, frames")
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[100, 345], help="lengths of clips; the first one is also restored"
    )
    parser.add_argument("--size", default="64x64", help="frame, HxW")
    parser.add_argument("--sigma", type=float, default=30, help="noise, 8-bit units")
    parser.add_argument("--tiles", action="store_true", help="print the cost of tiles instead")
    parser.add_argument("--models", nargs="+", default=["001", "008", "denoise-small"], help="models for --tiles")
    args = parser.parse_args()
    compute_tiles(args) if args.tiles else measure_windows(args)


if __name__ == "__main__":
    main()
