"""Stand-ins for what surrounds the filter: a restorer that shows which frames it saw, and a clip that counts."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import vapoursynth as vs

from vrt_core import InputError, Share, blend
from vrt_core.inference.window_plan import MidpointPlan
from vs_plugin.graph import restored

core = cast(Any, vs.core)  # the stubs of VapourSynth know no filters


def windowed(clip: vs.VideoNode, *restorers: "FakeRestorer | FakeInterpolator", **options: Any) -> vs.VideoNode:
    """The graph of the filter around stand-ins, one for each device."""
    return restored(clip, cast(Any, restorers), **{"sigma": None, "cuts": "props", "num_streams": 1, **options})


def later_weight(n: int, start: int, overlap: int, cuts: Iterable[int]) -> float:
    """Weight at frame n of the windows from ``start`` on, against those before: the rule of the cross-fade."""
    there = [c for c in cuts if start <= c <= start + overlap]
    if overlap and there:
        return float(n >= there[-1])
    return min(max((n - start + 1) / (overlap + 1), 0.0), 1.0)


@dataclass(frozen=True)
class FakeWindow:
    index: int
    start: int
    stop: int
    cuts: tuple[int, ...]
    shares: tuple[tuple[int, float], ...]


class FakePlan:
    """A small plan by the rules of the core, written straight from them."""

    def __init__(self, num_frames: int, window: int, overlap: int, cuts: Sequence[int] = ()) -> None:
        self.num_frames, self.window, self.overlap, self.cuts = num_frames, window, overlap, tuple(cuts)
        self.stride = window - overlap

    def __len__(self) -> int:
        return max(1, -(-(self.num_frames - self.overlap) // self.stride))

    def __getitem__(self, k: int) -> FakeWindow:
        start = min(k * self.stride, max(0, self.num_frames - self.window))
        stop = min(start + self.window, self.num_frames)
        shares = [(n, self.weight(k, n)) for n in range(k * self.stride, stop)]
        cuts = tuple(c for c in self.cuts if start < c < stop)
        return FakeWindow(k, start, stop, cuts, tuple(share for share in shares if share[1]))

    def weight(self, k: int, n: int) -> float:
        up = later_weight(n, k * self.stride, self.overlap, self.cuts) if k else 1.0
        down = later_weight(n, (k + 1) * self.stride, self.overlap, self.cuts) if k + 1 < len(self) else 0.0
        return min(up, 1 - down)

    def windows_of(self, n: int) -> range:
        return range(max(0, (n - self.overlap) // self.stride), min(n // self.stride, len(self) - 1) + 1)


class FakeRestorer:
    """Half the frame plus half the mean of all that was seen with it."""

    frame_factor, needs_sigma, device = 1, False, torch.device("cpu")

    def __init__(self, window: int, overlap: int, *, scale: int = 1, seconds: float = 0, fails_at: int = -1) -> None:
        self.window, self.overlap, self.scale = window, overlap, scale
        self.seconds, self.fails_at = seconds, fails_at
        self.runs: Counter[int] = Counter()
        self.busy, self.most_at_once = threading.Lock(), 1

    @property
    def links(self) -> "tuple[FakeRestorer, ...]":
        return (self,)

    def plan(self, num_frames: int, height: int, width: int, *, cuts: Sequence[int] = ()) -> FakePlan:
        window = min(self.window, num_frames)
        return FakePlan(num_frames, window, min(self.overlap, window - 1), cuts)

    def restore_window(
        self,
        window: FakeWindow,
        frames: torch.Tensor,
        *,
        sigma_255: float | None = None,
        cache: object = None,
    ) -> list[Share]:
        assert len(frames) == window.stop - window.start
        if not self.busy.acquire(blocking=False):  # another window is being restored
            self.most_at_once = 2
            self.busy.acquire()
        try:
            if window.index == self.fails_at:
                raise InputError("this one\nfails")
            self.runs[window.index] += 1
            time.sleep(self.seconds)
            edges = [window.start, *window.cuts, window.stop]
            pieces = [frames[a - window.start : b - window.start] for a, b in pairwise(edges)]
            seen = torch.cat([0.5 * piece + 0.5 * piece.mean(0, keepdim=True) for piece in pieces])
            seen = seen.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
            return [Share(n, weight, seen[n - window.start]) for n, weight in window.shares]
        finally:
            self.busy.release()

    def new_cache(self) -> dict[int, object]:
        return {}

    def restore(self, frames: torch.Tensor, cuts: Sequence[int] = ()) -> torch.Tensor:
        """The whole clip at once, (T, 3, H, W)."""
        plan = self.plan(*frames.shape[:1], *frames.shape[2:], cuts=cuts)
        shares: dict[int, list[Share]] = {}
        for k in range(len(plan)):
            window = plan[k]
            for share in self.restore_window(window, frames[window.start : window.stop]):
                shares.setdefault(share.index, []).append(share)
        self.runs.clear()
        return torch.stack([blend(shares[n]) for n in range(len(frames))])


class FakeInterpolator:
    """Between two frames, what four of them weigh together; frames seen by the network are counted, not held ones."""

    scale, needs_sigma, device = 1, False, torch.device("cpu")

    def __init__(self, factor: int, *, seconds: float = 0) -> None:
        self.frame_factor, self.seconds = 2, seconds
        self.links = (self,) * (factor.bit_length() - 1)
        self.runs: Counter[tuple[int, int]] = Counter()
        self.busy, self.most_at_once = threading.Lock(), 1

    def make_plan(self, num_frames: int, cuts: Sequence[int], hold: int) -> MidpointPlan:
        return MidpointPlan(num_frames, cuts, hold)

    def restore_window(self, window: Any, frames: torch.Tensor, **_: object) -> list[Share]:
        if not self.busy.acquire(blocking=False):  # another window is being restored
            self.most_at_once = 2
            self.busy.acquire()
        try:
            k = window.index - window.start
            assert window.pieces, "a frame that is held needs no network"
            self.runs[window.index, hash(frames.numpy().tobytes())] += 1
            time.sleep(self.seconds)
            return [Share(2 * window.index, 1, frames[k]), Share(2 * window.index + 1, 1, self.between(frames, k))]
        finally:
            self.busy.release()

    @staticmethod
    def between(frames: torch.Tensor, k: int) -> torch.Tensor:
        four = [frames[min(max(i, 0), len(frames) - 1)] for i in range(k - 1, k + 3)]
        return 0.1 * four[0] + 0.3 * four[1] + 0.4 * four[2] + 0.2 * four[3]

    def new_cache(self) -> dict[int, object]:
        return {}

    def restore(self, frames: torch.Tensor, cuts: Sequence[int] = ()) -> torch.Tensor:
        """The whole clip at once, scene by scene, (T, 3, H, W): by the rules, not by the plan of the core."""
        hold = 1
        for _ in self.links:
            made: list[torch.Tensor] = []
            for start, stop in pairwise([0, *(hold * c for c in cuts), len(frames)]):
                scene = frames[start:stop]
                for k in range(len(scene)):
                    held = k >= len(scene) - hold
                    made += [scene[k], scene[k] if held else self.between(scene, k)]
            frames, hold = torch.stack(made), 2 * hold
        return frames


class Source:
    """A clip of noise that counts how often each of its frames is asked for."""

    def __init__(
        self,
        num_frames: int,
        *,
        width: int = 6,
        height: int = 4,
        vs_format: int = vs.RGBS,
        props: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        dtype = np.float16 if vs_format == vs.RGBH else np.float32
        planes = vs.core.get_video_format(vs_format).num_planes
        noise = np.random.default_rng(num_frames).uniform(-0.2, 1.2, (num_frames, planes, height, width)).astype(dtype)
        asked: Counter[int] = Counter()

        def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # a method would keep the clip alive for ever
            asked[n] += 1
            frame = f.copy()
            for plane in range(planes):
                np.copyto(np.asarray(frame[plane]), noise[n, plane])
            frame.props.update({"Number": n, **(props or {}).get(n, {})})
            return frame

        blank = core.std.BlankClip(None, width, height, vs_format, num_frames, fpsnum=24000, fpsden=1001, keep=True)
        self.clip: vs.VideoNode = core.std.ModifyFrame(blank, blank, fill)
        core.std.SetVideoCache(self.clip, mode=0)  # or a second request would never get to be counted
        self.pixels, self.asked = noise, asked

    @property
    def frames(self) -> torch.Tensor:
        """All of it, (T, C, H, W), float32."""
        return torch.from_numpy(self.pixels.astype(np.float32))


def pixels(frame: vs.VideoFrame) -> np.ndarray:
    return np.stack([np.asarray(frame[plane]) for plane in range(3)])


def flagged(cuts: list[int], flags: str = "both") -> dict[int, dict[str, int]]:
    """Properties of the frames around cuts, as scene filters set them: before, after, or both."""
    props: dict[int, dict[str, int]] = {0: {"_SceneChangePrev": 1}}  # as scxvid does; not a cut
    for c in cuts:
        if flags != "next":
            props.setdefault(c, {})["_SceneChangePrev"] = 1
        if flags != "previous":
            props.setdefault(c - 1, {})["_SceneChangeNext"] = 1
    return props


def fetch(clip: vs.VideoNode, order: Iterable[int] | None = None, *, requests: int = 1) -> dict[int, np.ndarray]:
    """Frames by number, asked for in this order, so many at a time."""
    results: dict[int, np.ndarray] = {}
    pending: list = []
    for n in range(clip.num_frames) if order is None else order:
        pending.append((n, clip.get_frame_async(n)))
        if len(pending) == requests:
            number, future = pending.pop(0)
            with future.result() as frame:
                results[number] = pixels(frame).copy()
    for number, future in pending:
        with future.result() as frame:
            results[number] = pixels(frame).copy()
    return results
