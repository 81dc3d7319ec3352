"""Lanes: the devices that restore windows of one clip side by side, and the nodes that deal the windows out to them.

Window k goes to lane k modulo the number of lanes, so which device restores a frame depends on its number alone.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
import vapoursynth as vs

from vrt_core import Share, VRTError

from .callbacks import modify_frame
from .errors import one_line

if TYPE_CHECKING:
    from torch import Tensor

    from vrt_core import Cache, Restorer, Sigma, Window

_device_threads: defaultdict[tuple[str, int], ThreadPoolExecutor] = defaultdict(lambda: ThreadPoolExecutor(1, "vrt"))
"""One thread for each thing that a device does at once, for all clips: no more windows run there than the most asked
for, and on a CPU the helpers of torch are those of this thread, not of each that VapourSynth has."""


class Lane:
    """Restores one window at a time on its device."""

    def __init__(
        self, link: Restorer, cache: Cache, thread: ThreadPoolExecutor, stream: torch.cuda.Stream | None
    ) -> None:
        self._link: Restorer | None = link
        self._cache, self._thread, self._stream = cache, thread, stream

    @property
    def link(self) -> Restorer:
        """The network on its device.

        Raises:
            vs.Error: If the script is closed.
        """
        if self._link is None:
            raise vs.Error("vrt: the script that made this clip is closed; run it again")
        return self._link

    def restore(self, window: Window, frames: Tensor, sigma_255: Sigma | None = None) -> list[Share]:
        """Restore a window of frames, (T, C, H, W); no frame may be asked for in here.

        Raises:
            vs.Error: If the window cannot be restored, or the script is closed.
        """
        link = self.link

        def work() -> list[Share]:
            with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
                return link.restore_window(window, frames, sigma_255=sigma_255, cache=self._cache)

        try:
            return self._thread.submit(work).result()
        except (VRTError, RuntimeError, MemoryError) as error:
            raise vs.Error(f"vrt: frames {window.start} to {window.stop - 1}: {one_line(error)}") from error

    def release(self) -> None:
        """Let go of the model and of what it has in memory."""
        self._link = None
        self._cache.clear()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def make_lanes(links: Sequence[Restorer], num_streams: int, num_windows: int) -> list[Lane]:
    """Return the lanes for a clip, neighbours on different devices; no more than it has windows.

    Args:
        links: The network of each device.
        num_streams: Windows that each device restores at once.
        num_windows: Of the clip.
    """
    lanes, used = [], Counter[str]()
    caches = [link.new_cache() for link in links]  # of one device each: devices may round differently
    for _ in range(num_streams):
        for link, cache in zip(links, caches, strict=True):
            device = str(link.device)
            streams = num_streams > 1 and link.device.type == "cuda"
            stream = torch.cuda.Stream(link.device) if streams else None
            lanes.append(Lane(link, cache, _device_threads[device, used[device]], stream))
            used[device] += 1
    return lanes[:num_windows]


def deal(
    lanes: Sequence[Lane],
    template: vs.VideoNode,
    inputs: Sequence[vs.VideoNode],
    fill: Callable[[Lane, int, list[vs.VideoFrame]], vs.VideoFrame],
    *,
    kept: int,
) -> vs.VideoNode:
    """Return a clip whose frame n is what ``fill`` makes of frame n of all inputs, on the lane whose turn it is.

    Args:
        lanes: At least one.
        template: What the frames of the result are like; not asked for frames.
        inputs: As long as ``template``.
        fill: Called with a lane, n, and the frames; for each lane, once at a time.
        kept: Frames to keep.
    """
    std, step = cast(Any, vs.core).std, len(lanes)
    nodes = []
    for first, lane in enumerate(lanes):

        def call(n: int, f: list[vs.VideoFrame], lane: Lane = lane, first: int = first) -> vs.VideoFrame:
            return fill(lane, n * step + first, f)

        def mine(clip: vs.VideoNode, first: int = first) -> vs.VideoNode:
            return std.SelectEvery(clip, step, [first], modify_duration=False) if step > 1 else clip

        nodes.append(modify_frame(mine(template), [mine(clip) for clip in inputs], call))
    result = nodes[0]
    if step > 1:
        for node in nodes:
            std.SetVideoCache(node, mode=0)
        result = std.Interleave(nodes, modify_duration=False)
    std.SetVideoCache(result, mode=1, fixedsize=1, maxsize=kept)
    return result


class Made:
    """The last frames that were made, held in Python too: short of memory, VapourSynth empties all its caches.

    With many requests on the way, windows are made out of order. The one that is dropped is the oldest of those that
    are done with, so that a window made early is still there when its turn comes: unless windows of a few milliseconds
    come quicker than their frames are taken, for then none is done with.
    """

    def __init__(self, kept: int) -> None:
        self._kept, self._lock = kept, threading.Lock()
        self._frames: dict[int, vs.VideoFrame] = {}
        self._left: dict[int, set[int]] = {}  # by frame: what nobody took out of it yet

    def get(self, n: int) -> vs.VideoFrame | None:
        """Return frame n if it is held."""
        with self._lock:
            return self._frames.get(n)

    def put(self, n: int, frame: vs.VideoFrame, holds: Iterable[int] = ()) -> vs.VideoFrame:
        """Hold frame n, and return it.

        Args:
            n: Its number.
            frame: It.
            holds: Numbers of what is to be taken out of it; see ``taken``.
        """
        with self._lock:
            self._frames[n], self._left[n] = frame, set(holds)
            while len(self._frames) > self._kept:
                # The first that is done with, or that lies far from where the clip is read now; else the oldest.
                k = max(self._frames, key=lambda k: not self._left[k] or abs(k - n) > 2 * self._kept)
                del self._frames[k], self._left[k]
        return frame

    def taken(self, n: int) -> None:
        """Note that what bears number n was taken, out of all frames that hold it."""
        with self._lock:
            for left in self._left.values():
                left.discard(n)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._frames.clear()
            self._left.clear()
