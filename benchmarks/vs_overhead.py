"""Measures the overhead of the VapourSynth filter over the bare engine: the same windows of the same clip, in turns.

    python benchmarks/vs_overhead.py [--size 96x128] [--frames 40] [--runs 5]

The engine restores a clip in memory by its stream. The filter restores the same clip as RGBS frames, with several
requests in flight, as vspipe has; the results must be equal bit for bit. Each side runs in fresh processes, so that the
threads of one do not slow the other. Loading the model is timed, a first pass as warm-up is not. Wall and CPU seconds
of the process: medians, and the median of the ratios of the runs. torch uses all cores, or OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import vapoursynth as vs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vrt_core import load_restorer
from vs_plugin import restore

OPTIONS: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
SIDES = ("engine", "filter")


def as_clip(frames: np.ndarray) -> vs.VideoNode:
    """Return frames (T, 3, H, W) as a clip whose frames are all cached."""
    std, (T, _, H, W) = cast(Any, vs.core).std, frames.shape
    blank = std.BlankClip(None, W, H, vs.RGBS, T, keep=True)

    def render(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for c in range(3):
            np.copyto(np.asarray(frame[c]), frames[n, c])
        return frame

    clip = std.ModifyFrame(blank, blank, render)
    std.SetVideoCache(clip, mode=1, fixedsize=1, maxsize=T)
    for n in range(T):
        clip.get_frame(n).close()
    return clip


def restore_by_engine(frames: torch.Tensor) -> np.ndarray:
    """Restore a clip by the stream of a restorer."""
    restorer = load_restorer("denoise-small", tile_px=0, **OPTIONS)
    return torch.stack(list(restorer.stream(frames, sigma_255=20))).numpy()


def restore_by_filter(frames: torch.Tensor, requests: int) -> np.ndarray:
    """Restore a clip by the filter."""
    restored, pending, results = restore(as_clip(frames.numpy()), sigma=20, tile=0, **OPTIONS), deque[Any](), []
    for n in range(len(frames) + requests):
        if n < len(frames):
            pending.append(restored.get_frame_async(n))
        if n >= requests:
            with pending.popleft().result() as frame:
                results.append(np.stack([np.asarray(frame[c]) for c in range(3)]))
    return np.stack(results)


def run_once(side: str, args: argparse.Namespace) -> None:
    """Restore in this process, and print wall seconds, CPU seconds and a checksum as JSON."""
    H, W = (int(x) for x in args.size.split("x"))
    frames = torch.rand(args.frames, 3, H, W, generator=torch.Generator().manual_seed(0))
    for part in (frames[:12], frames):  # the first is the warm-up
        wall, cpu = time.perf_counter(), time.process_time()
        restored = restore_by_engine(part) if side == "engine" else restore_by_filter(part, args.requests)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps([*seconds, hashlib.sha256(restored.tobytes()).hexdigest()]))


def main() -> None:
    """Compare both sides and print a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="96x128", help="frame, HxW")
    parser.add_argument("--frames", type=int, default=40, help="length of the clip")
    parser.add_argument("--runs", type=int, default=5, help="processes of each side")
    parser.add_argument("--requests", type=int, default=4, help="frame requests in flight")
    parser.add_argument("--once", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        return run_once(args.once, args)
    timings: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for i in range(args.runs):
        digests = {}
        for side in SIDES if i % 2 else SIDES[::-1]:
            command = [sys.executable, "-W", "ignore", __file__, "--once", side, *sys.argv[1:]]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            wall, cpu, digests[side] = json.loads(done.stdout.splitlines()[-1])
            timings[side].append((wall, cpu))
        assert digests["engine"] == digests["filter"], "frames differ"
        print(f"  {timings['engine'][-1]} {timings['filter'][-1]}", file=sys.stderr)
    medians = [statistics.median(run[i] for run in timings[side]) for i in (0, 1) for side in SIDES]
    pairs = list(zip(timings["engine"], timings["filter"], strict=True))
    ratios = [statistics.median(ours[i] / bare[i] for bare, ours in pairs) for i in (0, 1)]
    print("| clip | runs | engine wall s | filter wall s | ratio | engine CPU s | filter CPU s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    wall, cpu = ("{:.2f} | {:.2f} | {:.3f}".format(*medians[2 * i : 2 * i + 2], ratios[i]) for i in (0, 1))
    print(f"| {args.frames}x{args.size} | {args.runs} | {wall} | {cpu} |")


if __name__ == "__main__":
    main()
