"""Twice the frames: each frame of a clip, then the one between it and the next, made from their four neighbours.

The frames of the clip go through untouched and wait for no network. Behind the last frame of a scene there is nothing
to meet: it is shown twice, so that the clip keeps its duration and its sound stays in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import vapoursynth as vs

from .frame_cache import cached_frames, kept_between
from .frames import read_frames, write_frame
from .scene_props import FOUND
from .workers import Made, deal

if TYPE_CHECKING:
    from .scene_props import Props
    from .workers import Lane


def doubled(source: vs.VideoNode, lanes: Sequence[Lane], *, hold: int, props: Props) -> tuple[vs.VideoNode, Between]:
    """Double the frame rate of a clip; the arguments are checked already.

    Args:
        source: RGBS or RGBH of constant size; a node of our own, whose cache is set here.
        lanes: Where a network that interpolates runs.
        hold: Equal frames at the end of every scene: 2 if the clip is itself a result of doubling, and so on.
        props: Tells of scene cuts.

    Returns:
        Twice as many frames as ``source``, each half as long; and what to release.
    """
    std = cast(Any, vs.core).std
    after = frames_ahead(hold)
    std.SetVideoCache(source, mode=1, fixedsize=1, maxsize=cached_frames(2 + after, 1, len(lanes)))
    kept = kept_between(len(lanes))
    between = Between(source, lanes, hold, props, kept)
    inputs = [_shift(source, i) for i in range(-1, after + 1)]
    middle = deal(lanes, source, inputs, between.fill, kept=kept)
    even = std.SetFrameProps(source, _SceneChangeNext=0)  # what follows is of the same scene now
    output = std.Interleave([even, middle])  # halves durations, and doubles the rate if there is one
    std.SetVideoCache(output, mode=0)
    return output, between


def frames_ahead(hold: int) -> int:
    """Return how many frames behind its own a frame in between depends on."""
    return max(2, hold)


def _shift(clip: vs.VideoNode, by: int) -> vs.VideoNode:
    """Return a clip of the same length: frame k is frame k + by, or the nearest to it that there is."""
    std, end = cast(Any, vs.core).std, clip.num_frames - 1
    if by == 0:
        return clip
    edge = 0 if by < 0 else end
    repeated = std.Loop(std.Trim(clip, edge, edge), min(abs(by), end + 1))
    if abs(by) > end:
        return repeated
    return std.Splice([repeated, std.Trim(clip, 0, end + by)] if by < 0 else [std.Trim(clip, by, end), repeated])


class Between:
    """Makes the frames between those of a clip when they are asked for."""

    def __init__(self, source: vs.VideoNode, lanes: Sequence[Lane], hold: int, props: Props, kept: int) -> None:
        self._num_frames, self._fps = source.num_frames, source.fps
        self._lanes, self._hold, self._props = lanes, hold, props
        self._made = Made(kept)

    def fill(self, lane: Lane, k: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return the frame between k and k + 1.

        Args:
            lane: Where to make it.
            k: Number of a frame of the source.
            f: The frames from k - 1 on, as far as it may depend on them.
        """
        if (made := self._made.get(k)) is not None:
            return made
        first = max(k - 1, 0)
        near = f[first - (k - 1) : self._num_frames - (k - 1)]  # those behind the ends of the clip are repeated
        plan = cast(Any, lane.link).make_plan(self._num_frames, self._props.cuts(near, first), self._hold)
        window = plan[k]
        own = f[1]
        if window.pieces:
            shares = lane.restore(window, read_frames(near[window.start - first : window.stop - first]))
            frame = write_frame(shares[1].frame, own.format, own.props)
        else:
            frame = own.copy()
        self._set_props(frame)
        return self._made.put(k, frame)

    def release(self) -> None:
        """Let go of the model and of all frames; who asks for a frame afterwards gets an error."""
        for lane in self._lanes:
            lane.release()
        self._made.clear()

    def _set_props(self, frame: vs.VideoFrame) -> None:
        """Turn the properties of frame k into those of the frame behind it, but for the duration."""
        props = cast(Any, frame.props)
        props["_SceneChangePrev"] = 0
        if FOUND.begins in props:
            del props[FOUND.begins]
        if "_AbsoluteTime" in props:
            length = Fraction(1, 1) / self._fps if self._fps else Fraction(0)
            if props.get("_DurationDen"):
                length = Fraction(props.get("_DurationNum", 0), props["_DurationDen"])
            props["_AbsoluteTime"] += float(length / 2)
