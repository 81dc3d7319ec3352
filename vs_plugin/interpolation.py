"""An interpolating network over a clip: a graph of VapourSynth nodes that doubles the frame rate.

Each frame of the clip is followed by one that is computed from its four neighbours. The frames of the clip are passed
on unchanged and do not wait for the network. The last frame of a scene has no successor, so it is repeated: the clip
keeps its duration, and sound stays in sync.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import vapoursynth as vs

from .cache_sizes import interpolated_cache_frames, interpolation_bytes, source_cache_frames
from .core import disable_cache, set_cache, std
from .frames import read_frames, write_frame
from .scene_props import INTERNAL_CUT_PROP
from .workers import Stage, Worker, distribute, make_workers

if TYPE_CHECKING:
    from vrt_core import Restorer

    from .scene_props import SceneProps


def interpolate_clip(
    source: vs.VideoNode,
    restorers: Sequence[Restorer],
    *,
    num_streams: int,
    num_held_frames: int,
    scene_props: SceneProps,
) -> tuple[vs.VideoNode, InterpolationStage]:
    """Double the frame rate of a clip; the arguments are checked already.

    Args:
        source: RGBS or RGBH of constant size; a node without other consumers, whose cache is set here.
        restorers: The interpolating network on each device.
        num_streams: Windows that each device restores at once.
        num_held_frames: Equal frames at the end of every scene: 2 if the clip is itself interpolated, and so on.
        scene_props: Reads the scene cuts.

    Returns:
        A clip of twice as many frames, each half as long, and the stage to release.
    """
    workers = make_workers(restorers, num_streams, source.num_frames)
    stage = InterpolationStage(source, workers, num_held_frames, scene_props)
    inputs = [_shift(source, i) for i in range(-1, stage.num_following + 1)]
    num_cached = interpolated_cache_frames(len(workers))
    midpoints = distribute(workers, source, inputs, stage.interpolate_frame, num_cached=num_cached)
    originals = std().SetFrameProps(source, _SceneChangeNext=0)  # an interpolated frame of the same scene follows
    output = std().Interleave([originals, midpoints])  # halves durations, and doubles the frame rate if there is one
    disable_cache(output)
    return output, stage


def _shift(clip: vs.VideoNode, by: int) -> vs.VideoNode:
    """Return a clip of the same length: frame k is frame k + by, or the end frame beyond an end of the clip."""
    end = clip.num_frames - 1
    if by == 0:
        return clip
    edge = 0 if by < 0 else end
    repeated = std().Loop(std().Trim(clip, edge, edge), min(abs(by), end + 1))
    if abs(by) > end:
        return repeated
    return std().Splice([repeated, std().Trim(clip, 0, end + by)] if by < 0 else [std().Trim(clip, by, end), repeated])


class InterpolationStage(Stage):
    """Computes the frames between those of a clip when they are requested."""

    def __init__(
        self, source: vs.VideoNode, workers: Sequence[Worker], num_held_frames: int, scene_props: SceneProps
    ) -> None:
        """Set the cache of the clip; arguments as in ``interpolate_clip``."""
        super().__init__(workers, interpolated_cache_frames(len(workers)))
        self._size = source.num_frames, source.height, source.width
        self._fps, self._num_held_frames, self._scene_props = source.fps, num_held_frames, scene_props
        self.num_following = max(2, num_held_frames)
        """Frames after frame k that the frame between k and k + 1 depends on."""
        window_frames = 2 + self.num_following
        set_cache(source, source_cache_frames(window_frames, 1, len(workers)))
        self.estimated_bytes = interpolation_bytes(source, window_frames, len(workers))

    def interpolate_frame(self, worker: Worker, k: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return the frame between k and k + 1.

        Args:
            worker: Runs the network.
            k: Number of a frame of the source.
            f: The source frames from k - 1 to k + ``num_following``.
        """
        if (cached := self._cache.get(k)) is not None:
            return cached
        first = max(k - 1, 0)
        frames = f[first - (k - 1) : self._size[0] - (k - 1)]  # beyond the ends of the clip, frames are repeated
        cuts = self._scene_props.cuts(frames, first)
        window = worker.restorer.plan(*self._size, cuts=cuts, num_held_frames=self._num_held_frames)[k]
        current = f[1]
        if window.segments:
            _, midpoint = worker.restore(window, read_frames(frames[window.start - first : window.stop - first]))
            frame = write_frame(midpoint.frame, current.format, current.props)
        else:
            frame = current.copy()
        self._set_props(frame.props)
        return self._cache.put(k, frame)

    def _set_props(self, props: vs.FrameProps) -> None:
        """Change the properties of frame k to those of the frame after it; ``std.Interleave`` sets the duration."""
        props["_SceneChangePrev"] = 0
        props.pop(INTERNAL_CUT_PROP, None)
        time = props.get("_AbsoluteTime")
        if isinstance(time, (int, float)):
            seconds = Fraction(1, 1) / self._fps if self._fps else Fraction(0)
            numerator, denominator = props.get("_DurationNum", 0), props.get("_DurationDen")
            if isinstance(numerator, int) and isinstance(denominator, int) and denominator:
                seconds = Fraction(numerator, denominator)
            props["_AbsoluteTime"] = time + float(seconds / 2)
