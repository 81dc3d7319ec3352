"""A restoring network over a clip: a graph of VapourSynth nodes that restores the clip window by window.

The graph has three steps, each a node (N frames, K windows, ``stride`` frames from one window to the next)::

    source (N)  --> one clip per position in a window, each of K frames: frame k is that position of window k
                --> window clip (K): std.ModifyFrame restores window k and returns a window frame: a 1x1 frame whose
                    properties hold the restored frames, so that no pixels are copied
                --> output (N): frame n requests the window frames of the first and of the last window that contain it
                    (two windows only where they overlap) and returns its frame from one of them, or blends both

VapourSynth requests the source frames of a window in parallel, and calls the callback of a node in one thread at a
time. No callback requests a frame and waits for it, so nothing can deadlock. The number of nodes does not depend on
the length of the clip, and every frame depends on its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import vapoursynth as vs

from .cache_sizes import frame_bytes, restoration_bytes, source_cache_frames, window_cache_frames
from .core import disable_cache, set_cache, std
from .frames import modify_frame, read_frames, read_noise_levels
from .window_frame import pack, unpack
from .workers import Stage, Worker, distribute, make_workers

if TYPE_CHECKING:
    from vrt_core import Plan, Restorer
    from vrt_core.options import Sigma

    from .scene_props import SceneProps


@dataclass(frozen=True)
class WindowGrid:
    """The fixed grid on which the windows of a clip lie."""

    num_windows: int
    stride: int
    """Frames from one window to the next."""
    overlap: int
    """Frames that two windows share."""
    window_frames: int
    """Frames in a window; the last one may have fewer."""
    last_start: int
    """First frame of the last window, which may lie between the steps of the grid."""

    @classmethod
    def from_plan(cls, plan: Plan) -> WindowGrid:
        """Return the grid of a plan without cuts."""
        first, num_windows = plan[0], len(plan)
        # Window 0 contributes to all its frames, and window 1 to all from its first frame on.
        stride = plan[1].output_weights[0][0] if num_windows > 1 else plan.num_frames
        overlap = len(first.output_weights) - stride
        return cls(num_windows, stride, overlap, first.stop - first.start, plan[num_windows - 1].start)

    def position(self, clip: vs.VideoNode, i: int) -> vs.VideoNode:
        """Return a clip of K frames: frame k is position i of window k; beyond an end of the clip, the end frame."""
        first, last = max(i, 0), min(self.last_start + i, clip.num_frames - 1)
        parts = [std().Trim(clip, first, first)]
        if self.num_windows > 2:
            inner = std().Trim(clip, self.stride + i, (self.num_windows - 2) * self.stride + i)
            if self.stride > 1:
                inner = std().SelectEvery(inner, self.stride, [0], modify_duration=False)
            parts.append(inner)
        if self.num_windows > 1:
            parts.append(std().Trim(clip, last, last))
        return std().Splice(parts)

    def windows_of_frames(self, window_clip: vs.VideoNode, num_frames: int) -> tuple[vs.VideoNode, vs.VideoNode]:
        """Return two clips of N frames: frame n is the frame of the first and of the last window that contain n.

        Frame n is contained in the windows from (n - overlap) // stride to n // stride, as far as they exist.
        """
        repeated = std().Interleave([window_clip] * self.stride, modify_duration=False)
        disable_cache(repeated)  # a node with two consumers would cache window frames by default
        early = late = repeated
        if self.overlap:
            first, last = std().Trim(window_clip, 0, 0), std().Trim(window_clip, length=1, first=self.num_windows - 1)
            early = std().Splice([std().Loop(first, self.overlap), repeated])
            late = std().Splice([repeated, std().Loop(last, self.overlap)])
        return std().Trim(early, length=num_frames), std().Trim(late, length=num_frames)


def restore_clip(
    source: vs.VideoNode,
    restorers: Sequence[Restorer],
    *,
    num_streams: int,
    sigma: Sigma | vs.VideoNode | None,
    scene_props: SceneProps,
    vs_format: vs.VideoFormat,
) -> tuple[vs.VideoNode, RestorationStage]:
    """Restore a clip with a network that outputs one frame per input frame; the arguments are checked already.

    Args:
        source: RGBS or RGBH of constant size; a node without other consumers, whose cache is set here.
        restorers: The network on each device.
        num_streams: Windows that each device restores at once.
        sigma: Noise level in 8-bit units, or a clip of it, for models that need it; such a clip is cached likewise.
        scene_props: Reads the scene cuts.
        vs_format: Format of the result, RGBS or RGBH.

    Returns:
        The result, with the length and properties of ``source``, and the stage to release.
    """
    plan = restorers[0].plan(source.num_frames, source.height, source.width)
    grid = WindowGrid.from_plan(plan)
    workers = make_workers(restorers, num_streams, grid.num_windows)
    stage = RestorationStage(source, workers, plan, sigma=sigma, scene_props=scene_props, vs_format=vs_format)

    blank = std().BlankClip(source, width=1, height=1, format=vs.GRAY8, length=grid.num_windows, keep=True)
    inputs = [grid.position(source, i) for i in range(-stage.margin, grid.window_frames + stage.margin)]
    if isinstance(sigma, vs.VideoNode):
        inputs += [grid.position(sigma, i) for i in range(grid.window_frames)]
    num_cached = window_cache_frames(grid.overlap, len(workers))
    window_clip = distribute(workers, blank, [blank, *inputs], stage.render_window, num_cached=num_cached)

    scale = restorers[0].scale
    width, height = source.width * scale, source.height * scale
    template = std().BlankClip(source, width=width, height=height, format=vs_format.id, keep=True)
    windows = grid.windows_of_frames(window_clip, source.num_frames)
    output = modify_frame(template, windows, stage.output_frame)
    disable_cache(output)  # the cached window frames hold its frames already
    return output, stage


class RestorationStage(Stage):
    """Restores the windows of one clip when they are requested."""

    def __init__(
        self,
        source: vs.VideoNode,
        workers: Sequence[Worker],
        plan: Plan,
        *,
        sigma: Sigma | vs.VideoNode | None,
        scene_props: SceneProps,
        vs_format: vs.VideoFormat,
    ) -> None:
        """Set the caches of the clips; arguments as in ``restore_clip``."""
        grid = WindowGrid.from_plan(plan)
        super().__init__(workers, window_cache_frames(grid.overlap, len(workers)))
        self._source, self._plan, self._grid, self._vs_format = source, plan, grid, vs_format
        self._levels = sigma if isinstance(sigma, vs.VideoNode) else None
        self._sigma_255: Sigma | None = None if isinstance(sigma, vs.VideoNode) else sigma
        self._scene_props, self._scale = scene_props, workers[0].restorer.scale
        self.margin = 1 if scene_props.has_cuts and grid.overlap else 0
        """Frames on either side of a window whose properties are read: a cut there changes the cross-fade."""
        # If more requests are in flight than the stride, VapourSynth already requests the next window, and prefetching
        # would request frames twice.
        self._prefetches = len(workers) == 1 and vs.core.num_threads <= grid.stride
        self._last_window = -2
        cached = source_cache_frames(grid.window_frames, grid.stride, len(workers))
        self.estimated_bytes = restoration_bytes(
            source, vs_format, self._scale, grid.window_frames, grid.overlap, len(workers)
        )
        set_cache(source, cached)
        if self._levels is not None:
            set_cache(self._levels, cached)
            self.estimated_bytes += cached * frame_bytes(self._levels)

    def render_window(self, worker: Worker, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return the window frame of window n.

        Args:
            worker: Restores the window.
            n: Number of the window.
            f: An empty window frame; the source frames of the window, with ``margin`` more on either side; then the
                frames of the noise level, if it is a clip.
        """
        if (cached := self._cache.get(n)) is not None:
            return cached
        window, margin = self._plan[n], self.margin
        start, length = window.start, window.stop - window.start
        before = min(margin, start)  # at the ends of the clip, the margin only repeats a frame
        after = min(margin, self._source.num_frames - window.stop)
        frames = f[1 + margin : 1 + margin + length]
        neighbours = f[1 + margin - before : 1 + margin + length + after]
        if cuts := self._scene_props.cuts(neighbours, start - before):
            source = self._source
            window = worker.restorer.plan(source.num_frames, source.height, source.width, cuts=cuts)[n]
        clip = read_frames(frames)  # (T, C, H, W)
        if self._levels is not None:
            levels = f[-self._grid.window_frames :][:length]  # the last window may be shorter
            clip = torch.cat((clip, read_noise_levels(levels, start)), dim=1)  # (T, C + 1, H, W)
        if self._prefetches and self._last_window == n - 1 and self._cache.get(n + 1) is None:
            self._prefetch(n + 1)
        self._last_window = n

        parts = worker.restore(window, clip, self._sigma_255)
        window_frame = f[0].copy()
        for part in parts:
            props = frames[part.index - start].props
            pack(window_frame, part, props, self._vs_format, keeps_size=self._scale == 1)
        return self._cache.put(n, window_frame, [part.index for part in parts])

    def output_frame(self, n: int, f: Sequence[vs.VideoFrame]) -> vs.VideoFrame:
        """Return output frame n from the window frames of the first and of the last window that contain it."""
        frame = unpack(n, f, self._vs_format)
        self._cache.mark_delivered(n)
        return frame

    def _prefetch(self, n: int) -> None:
        """Request the source frames that window n reads and earlier windows did not, while window n - 1 is restored."""
        if n >= len(self._plan):
            return
        for clip in (self._source, self._levels):
            if clip is not None:
                margin = self.margin if clip is self._source else 0
                begin, end = (min(self._plan[k].stop + margin, clip.num_frames) for k in (n - 1, n))
                for i in range(begin, end):
                    clip.get_frame_async(i, _discard)


def _discard(frame: vs.VideoFrame | None, error: Exception | None) -> None:
    """Leave a prefetched frame to the cache; an error is raised when the frame is requested again."""
    if frame is not None:
        frame.close()
