"""What the VapourSynth filter costs beside the bare engine: the same windows of the same clip, in turns.

    python benchmarks/vs_overhead.py [--size 96x128] [--frames 40] [--runs 5]

The engine restores a clip that lies in memory as a tensor, through its stream. The filter restores the same clip as
RGBS frames, asked for one after another by several requests at once, as vspipe does; what it gives is compared. Each
run times both, one after the other, in wall seconds and in CPU seconds of the process; the table has the medians, and
the median of the ratios of the runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import vapoursynth as vs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vrt_core import load_restorer
from vs_plugin import restore

OPTIONS: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


def as_clip(frames: np.ndarray) -> vs.VideoNode:
    """Return frames (T, 3, H, W) as a clip that is ready in memory."""
    std, (T, _, H, W) = cast(Any, vs.core).std, frames.shape
    blank = std.BlankClip(None, W, H, vs.RGBS, T, keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for c in range(3):
            np.copyto(np.asarray(frame[c]), frames[n, c])
        return frame

    clip = std.ModifyFrame(blank, blank, fill)
    std.SetVideoCache(clip, mode=1, fixedsize=1, maxsize=T)
    for n in range(T):
        clip.get_frame(n).close()
    return clip


def timed(work: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Return wall seconds, CPU seconds, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    """Compare, and print a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="96x128", help="HxW")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--requests", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    H, W = (int(x) for x in args.size.split("x"))
    frames = torch.rand(args.frames, 3, H, W, generator=torch.Generator().manual_seed(0))
    clip = as_clip(frames.numpy())
    restorer = load_restorer("denoise-small", tile_px=0, **OPTIONS)

    def engine() -> np.ndarray:
        return torch.stack(list(restorer.stream(frames, sigma_255=20))).numpy()

    def through_filter() -> np.ndarray:
        # Made anew for each run, so that nothing is in its caches; loading the model is not timed.
        restored, pending, results = clips.popleft(), deque[Any](), []
        for n in range(args.frames + args.requests):
            if n < args.frames:
                pending.append(restored.get_frame_async(n))
            if n >= args.requests:
                with pending.popleft().result() as frame:
                    results.append(np.stack([np.asarray(frame[c]) for c in range(3)]))
        return np.stack(results)

    clips = deque(restore(clip, sigma=20, tile=0, **OPTIONS) for _ in range(args.runs))
    list(restorer.stream(frames[:12], sigma_255=20))  # warm
    found: dict[str, list[tuple[float, float]]] = {"engine": [], "filter": []}
    for i in range(args.runs):
        sides = [("engine", engine), ("filter", through_filter)]
        results = {}
        for name, work in sides if i % 2 else sides[::-1]:
            wall, cpu, results[name] = timed(work)
            found[name].append((wall, cpu))
        assert np.array_equal(results["engine"], results["filter"])
        print(f"  {found['engine'][-1]} {found['filter'][-1]}", file=sys.stderr)
    medians = [statistics.median(run[i] for run in found[name]) for i in (0, 1) for name in found]
    pairs = list(zip(found["engine"], found["filter"], strict=True))
    ratios = [statistics.median(ours[i] / bare[i] for bare, ours in pairs) for i in (0, 1)]
    print("| clip | runs | engine wall s | filter wall s | ratio | engine CPU s | filter CPU s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    wall, cpu = ("{:.2f} | {:.2f} | {:.3f}".format(*medians[2 * i : 2 * i + 2], ratios[i]) for i in (0, 1))
    print(f"| {args.frames}x{args.size} | {args.runs} | {wall} | {cpu} |")


if __name__ == "__main__":
    main()
