"""Scene cuts as properties of frames: as the scene filters of VapourSynth set them, or as the core finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import vapoursynth as vs

from vrt_core import CutDetector

from .callbacks import modify_frame
from .frames import read_frames

CutSource = Literal["props", "auto", "off"]
"""Flags that a filter before this one has set, the detector of the core, or none."""


class Flags(NamedTuple):
    """Names of the properties that tell of cuts; either one is enough, and "" is no name."""

    begins: str
    """1 on the first frame of a scene."""
    ends: str
    """1 on the last frame of a scene."""


FOUND = Flags("_VRTCut", "")
"""As ``mark_cuts`` leaves them; they stay within the filter."""

FLAGS: dict[CutSource, Flags | None] = {
    "props": Flags("_SceneChangePrev", "_SceneChangeNext"),
    "auto": FOUND,
    "off": None,
}


class Props:
    """Reads what the properties of frames tell; one for all stages of a filter, so that it warns once."""

    def __init__(self, flags: Flags | None) -> None:
        """Look for cuts in ``flags``; None finds none."""
        self.flags = flags
        self._told = False

    def cuts(self, frames: Sequence[vs.VideoFrame], first: int) -> list[int]:
        """Return which of some neighbouring frames begin a scene, and say so in the log if they are interlaced.

        The first of the frames is never a cut, as what came before it is not known (scxvid flags frame 0 of every
        clip).

        Args:
            frames: In order.
            first: Number of the first.
        """
        props: list[Any] = [frame.props for frame in frames]
        if not self._told and any(each.get("_FieldBased") for each in props):
            self._told = True
            vs.core.log_message(
                vs.MESSAGE_TYPE_WARNING,
                "vrt: the clip is interlaced (_FieldBased is set); deinterlace it first, or if it is progressive, "
                "clip.std.SetFieldBased(0)",
            )
        if self.flags is None:
            return []
        begins, ends = self.flags
        return [first + t for t in range(1, len(props)) if props[t].get(begins) or props[t - 1].get(ends)]


def mark_cuts(clip: vs.VideoNode) -> vs.VideoNode:
    """Return the clip with ``FOUND`` on its frames, found by comparing each with the one before it.

    The clip should be cached: each frame is asked for twice.
    """
    std = cast(Any, vs.core).std
    if clip.num_frames == 1:
        return clip
    before = std.Splice([std.Trim(clip, 0, 0), std.Trim(clip, 0, clip.num_frames - 2)])
    return modify_frame(clip, [clip, before], _Marker().mark)


class _Marker:
    """Compares frames; those that come in order are looked at once."""

    def __init__(self) -> None:
        self._next, self._begins = -1, CutDetector()

    def mark(self, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return frame n, flagged if a scene begins with it; f holds it and the one before it."""
        if n != self._next:
            self._begins = CutDetector()
            if n:
                self._begins(read_frames(f[1:])[0])
        cut = self._begins(read_frames(f[:1])[0])
        self._next = n + 1
        if not cut:
            return f[0]
        frame = f[0].copy()
        frame.props[FOUND.begins] = 1
        return frame
