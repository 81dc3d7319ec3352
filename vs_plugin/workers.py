"""Workers: each restores one window at a time on its device; the windows of a clip are distributed over them.

Worker k % num_workers restores window k, so which device restores a frame depends on the frame's number alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import vapoursynth as vs

from vrt_core import VRTError
from vrt_core.hardware import DeviceStream

from .core import disable_cache, set_cache, std
from .errors import one_line
from .frame_cache import FrameCache
from .frames import modify_frame

if TYPE_CHECKING:
    from torch import Tensor

    from vrt_core import Cache, Restorer, WeightedFrame, Window
    from vrt_core.options import Sigma

_executors: defaultdict[tuple[str, int], ThreadPoolExecutor] = defaultdict(lambda: ThreadPoolExecutor(1, "vrt"))
"""One single-thread executor per (device, stream index), shared by all clips. It bounds the concurrent windows of a
device; on a CPU, OpenMP keeps the threads of these executors only, not some for each thread of VapourSynth."""


class Worker:
    """Restores one window at a time on its device."""

    def __init__(
        self, restorer: Restorer, cache: Cache, executor: ThreadPoolExecutor, stream: DeviceStream | None
    ) -> None:
        self._restorer: Restorer | None = restorer
        self._cache, self._executor, self._stream = cache, executor, stream

    @property
    def restorer(self) -> Restorer:
        """The network on its device.

        Raises:
            vs.Error: If the script was closed.
        """
        if self._restorer is None:
            raise vs.Error("vrt: the script that made this clip is closed; run it again")
        return self._restorer

    def restore(self, window: Window, frames: Tensor, sigma_255: Sigma | None = None) -> list[WeightedFrame]:
        """Restore a window of frames, (T, C, H, W), and wait for the result.

        Raises:
            vs.Error: If the window cannot be restored, or the script was closed.
        """
        restorer = self.restorer

        def work() -> list[WeightedFrame]:
            with self._stream or nullcontext():
                return restorer.restore_window(window, frames, sigma_255=sigma_255, cache=self._cache)

        try:
            return self._executor.submit(work).result()
        except (VRTError, RuntimeError, MemoryError) as error:
            raise vs.Error(f"vrt: frames {window.start} to {window.stop - 1}: {one_line(error)}") from error

    def release(self) -> None:
        """Free the model and its cache."""
        self._restorer = None
        self._cache.clear()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


class Stage:
    """One network of the filter: its workers, and the cache of frames that they have computed."""

    estimated_bytes: int
    """Estimate of the bytes of frames that the stage keeps in VapourSynth's memory."""

    def __init__(self, workers: Sequence[Worker], max_cached_frames: int) -> None:
        self._workers, self._cache = workers, FrameCache(max_cached_frames)

    def release(self) -> None:
        """Free the model and all frames; whoever requests a frame afterwards gets an error."""
        for worker in self._workers:
            worker.release()
        self._cache.clear()


def make_workers(restorers: Sequence[Restorer], num_streams: int, num_windows: int) -> list[Worker]:
    """Return the workers for a clip, neighbours on different devices; at most as many as the clip has windows.

    Args:
        restorers: The network on each device.
        num_streams: Windows that each device restores at once.
        num_windows: Windows of the clip.
    """
    workers, used = [], Counter[str]()
    caches = [restorer.new_cache() for restorer in restorers]  # not shared: devices may round differently
    for _ in range(num_streams):
        for restorer, cache in zip(restorers, caches, strict=True):
            device = str(restorer.device)
            stream = DeviceStream(restorer.device) if num_streams > 1 else None
            workers.append(Worker(restorer, cache, _executors[device, used[device]], stream))
            used[device] += 1
    return workers[:num_windows]


def distribute(
    workers: Sequence[Worker],
    template: vs.VideoNode,
    inputs: Sequence[vs.VideoNode],
    compute: Callable[[Worker, int, list[vs.VideoFrame]], vs.VideoFrame],
    *,
    num_cached: int,
) -> vs.VideoNode:
    """Return a clip whose frame n is computed from frame n of all inputs, by worker n % num_workers.

    Args:
        workers: At least one.
        template: Clip with the format and length of the result; its frames are not requested.
        inputs: Clips as long as ``template``.
        compute: Called with a worker, n, and the frames; never twice at once for one worker.
        num_cached: Frames of the result that VapourSynth caches.
    """
    step = len(workers)
    nodes = []
    for first, worker in enumerate(workers):

        def call(n: int, f: list[vs.VideoFrame], worker: Worker = worker, first: int = first) -> vs.VideoFrame:
            return compute(worker, n * step + first, f)

        def own_frames(clip: vs.VideoNode, first: int = first) -> vs.VideoNode:
            return std().SelectEvery(clip, step, [first], modify_duration=False) if step > 1 else clip

        nodes.append(modify_frame(own_frames(template), [own_frames(clip) for clip in inputs], call))
    result = nodes[0]
    if step > 1:
        for node in nodes:
            disable_cache(node)
        result = std().Interleave(nodes, modify_duration=False)
    set_cache(result, num_cached)
    return result
