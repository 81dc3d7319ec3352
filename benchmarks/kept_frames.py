"""What windows and tiles cost: work for each frame that is kept against a single window, and flicker at the borders.

    python benchmarks/kept_frames.py [--windows 12/2 18/2 24/2] [--frames 100 345]
    python benchmarks/kept_frames.py --tiles

Neighbouring windows share frames, neighbouring tiles pixels, and what is shared is computed twice. The work of a clip
is what its plan's passes count together (FLOP, on tensors without contents), over that of as many frames in windows
without neighbours. Flicker and quality are measured: a still picture with fresh noise in every frame goes through
``denoise-small``; the change from frame to frame where windows meet is set against that elsewhere, as in
``vs_flicker.py``, and the processor time for each frame against that of a window alone. ``--tiles`` prints the pixels
that tiles compute for each that is kept, for some frame sizes and memories, by the engine's choice and by a ladder of
square tiles.
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

from vrt_core import build_network, estimate_memory, find_model, load_restorer  # noqa: E402
from vrt_core.inference.tile_plan import fitting_tile, lay_tiles  # noqa: E402
from vrt_core.inference.window_plan import Plan  # noqa: E402

LADDER_PX = (1024, 768, 512, 384, 256, 192, 128, 96, 64)


@cache
def pass_flop(model: str, frames: int, side: int) -> int:
    """Return the FLOP of one pass, flows between its frames not counted: windows share them."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = build_network(**find_model(model).config)
        clip = torch.zeros(1, frames, 3 + network.config.nonblind_denoising, side, side)
        pyramid = tuple(torch.zeros(1, frames - 1, 2, side >> i, side >> i) for i in range(4))
        network(clip, (pyramid, pyramid))
    return counter.get_total_flops()


def work(model: str, plan: Plan, window: int, side: int) -> float:
    """Return the work of a plan for each frame, that of a frame in a single window being 1."""
    lengths = [len(piece) for each in plan for piece in each.pieces]
    spent = sum(pass_flop(model, length, side) for length in lengths)
    return spent / plan.num_frames / (pass_flop(model, window, side) / window)


def still_picture(height: int, width: int) -> Tensor:
    """Return the middle of the first frame of the demo clip, (3, H, W) in [0, 1]."""
    import av

    with av.open(str(ROOT / "demo/bird.mp4")) as file:
        rgb = torch.from_numpy(next(file.decode(video=0)).to_ndarray(format="rgb24")).movedim(-1, 0) / 255
    top, left = (rgb.shape[1] - height) // 2, (rgb.shape[2] - width) // 2
    return rgb[:, top : top + height, left : left + width]


def windows(args: argparse.Namespace) -> None:
    """Print work, time, flicker and quality for pairs of window and overlap."""
    torch.set_num_threads(1)
    H, W = (int(x) for x in args.size.split("x"))
    picture = still_picture(H, W)
    count = args.frames[0]
    clip = picture + args.sigma / 255 * torch.randn(count, 3, H, W, generator=torch.Generator().manual_seed(0))
    heads = ["window/overlap", *(f"work, {n} frames" for n in args.frames), "CPU s/frame", "of a single window"]
    heads += ["change at borders", "elsewhere", "ratio", "largest", "PSNR"]
    print(f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", sep="\n")
    for pair in args.windows:
        window, overlap = (int(x) for x in pair.split("/"))
        restorer = load_restorer("denoise-small", device="cpu", window_frames=window, overlap_frames=overlap, tile_px=0)
        whole = partial(restorer.restore, sigma_255=args.sigma, cuts="off")
        cells = [pair]
        for n in args.frames:
            cells.append(f"{work('denoise-small', restorer.plan(n, H, W), window, 64):.3f}")
        whole(clip[:window])  # warm
        alone = min(timed(partial(whole, clip[:window]))[0] for _ in range(3)) / window
        spent, made = timed(partial(whole, clip))
        spent /= count
        made = made.clamp(0, 1)
        change = 255 * (made[1:] - made[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
        stride = window - overlap
        # change i leads from frame i to i + 1; windows meet in the overlap + 1 steps into k * stride .. + overlap
        borders = {k * stride + i - 1 for k in range(1, count // stride + 1) for i in range(overlap + 1)}
        at = torch.tensor([i in borders for i in range(len(change))])
        error = (made - picture).square().mean(dim=(1, 2, 3))
        cells += [f"{spent:.3f}", f"{spent / alone:.3f}", f"{change[at].mean():.3f}", f"{change[~at].mean():.3f}"]
        cells += [f"{change[at].mean() / change[~at].mean():.3f}", f"{change.max():.3f}"]
        cells.append(f"{-10 * error.log10().mean():.3f}")
        print(f"| {' | '.join(cells)} |", flush=True)


def timed(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return processor seconds and the result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def tiles(args: argparse.Namespace) -> None:
    """Print computed over kept pixels; computed, not measured."""
    print("| model | frames | memory GB | chosen tile | tiles | work | largest square of the ladder | work |")
    print("|---|---|---|---|---|---|---|---|")
    for model in args.models:
        card = find_model(model)
        for size in ((360, 640), (720, 1280), (1080, 1920)):
            padded = -(-size[0] // 8) * 8, -(-size[1] // 8) * 8
            for gb in (6, 12, 24):
                room = int(0.8 * gb * 1e9)

                def need(tile: tuple[int, int], card: Any = card) -> int:
                    return estimate_memory(card.config, card.window_frames, *tile, torch.float16, device="cuda")

                chosen = lay_tiles(padded, fitting_tile(padded, 64, None, 8, lambda t, r=room: need(t) <= r), None, 8)
                squares = ((min(padded[0], px), min(padded[1], px)) for px in (4096, *LADDER_PX))
                square = lay_tiles(padded, next(t for t in squares if need(t) <= room), None, 8)
                cells = [f"{card.name[:14]}", f"{card.window_frames}x{size[0]}x{size[1]}", f"{gb}"]
                for each in (chosen, square):
                    ratio = len(each) * each.tile[0] * each.tile[1] / (padded[0] * padded[1])
                    count = [f"{len(each)}"] if each is chosen else []
                    cells += [f"{each.tile[0]}x{each.tile[1]}", *count, f"{ratio:.2f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure windows, or compute what tiles cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", nargs="+", default=["12/2", "18/2", "24/2", "18/3"], help="window/overlap, frames")
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 345], help="lengths; the first is measured")
    parser.add_argument("--size", default="64x64", help="HxW")
    parser.add_argument("--sigma", type=float, default=30)
    parser.add_argument("--tiles", action="store_true")
    parser.add_argument("--models", nargs="+", default=["001", "008", "denoise-small"], help="for --tiles")
    args = parser.parse_args()
    tiles(args) if args.tiles else windows(args)


if __name__ == "__main__":
    main()
