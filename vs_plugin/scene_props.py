"""Scene cuts as frame properties: those that VapourSynth's scene filters set, or those that the core detects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import vapoursynth as vs

from vrt_core import CutDetector

from .core import std
from .frames import modify_frame, read_frames

CutSource = Literal["props", "auto", "off"]
"""Properties that an earlier filter has set, the detector of the core, or no cuts."""


class CutProps(NamedTuple):
    """Names of the properties that mark a cut; either is enough."""

    first_of_scene: str
    """1 on the first frame of a scene."""
    last_of_scene: str | None
    """1 on the last frame of a scene."""


INTERNAL_CUT_PROP = "_VRTCut"
"""Set by ``mark_cuts`` on the first frame of a scene; removed from the result."""

CUT_PROPS: dict[CutSource, CutProps | None] = {
    "props": CutProps("_SceneChangePrev", "_SceneChangeNext"),
    "auto": CutProps(INTERNAL_CUT_PROP, None),
    "off": None,
}
"""Where the cuts of each source are read; None: nowhere."""


class SceneProps:
    """Reads scene cuts from frame properties. One object serves all stages of a filter, so that it warns once."""

    def __init__(self, cut_props: CutProps | None) -> None:
        """Read cuts from these properties; None reads none."""
        self._cut_props = cut_props
        self._has_warned = False

    @property
    def has_cuts(self) -> bool:
        """Whether frames may have properties that mark cuts."""
        return self._cut_props is not None

    def cuts(self, frames: Sequence[vs.VideoFrame], first: int) -> list[int]:
        """Return which of some consecutive frames begin a scene; log a warning if they are interlaced.

        The first of the frames is never a cut, since the frame before it is not known (scxvid marks frame 0 of every
        clip).

        Args:
            frames: Frames in order.
            first: Number of the first.
        """
        props = [frame.props for frame in frames]
        if not self._has_warned and any(each.get("_FieldBased") for each in props):
            self._has_warned = True
            vs.core.log_message(
                vs.MESSAGE_TYPE_WARNING,
                "vrt: the clip is interlaced (_FieldBased is set); deinterlace it first, or if it is progressive, "
                "clip.std.SetFieldBased(0)",
            )
        if self._cut_props is None:
            return []
        first_of_scene, last_of_scene = self._cut_props

        def is_cut(t: int) -> bool:
            return bool(props[t].get(first_of_scene) or (last_of_scene is not None and props[t - 1].get(last_of_scene)))

        return [first + t for t in range(1, len(props)) if is_cut(t)]


def mark_cuts(clip: vs.VideoNode) -> vs.VideoNode:
    """Return the clip with ``INTERNAL_CUT_PROP`` on each frame that the core detects as the first of a scene.

    The clip should be cached: each frame is requested twice, to be compared with its predecessor and its successor.
    """
    if clip.num_frames == 1:
        return clip
    previous = std().Splice([std().Trim(clip, 0, 0), std().Trim(clip, 0, clip.num_frames - 2)])
    return modify_frame(clip, [clip, previous], _CutMarker().mark)


class _CutMarker:
    """Compares frames with their predecessors; reads each frame once if they come in order."""

    def __init__(self) -> None:
        self._next_frame, self._detector = -1, CutDetector()

    def mark(self, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return frame n, marked if a scene begins with it; ``f`` holds it and its predecessor."""
        if n != self._next_frame:
            self._detector = CutDetector()
            if n:
                self._detector(read_frames(f[1:])[0])
        is_cut = self._detector(read_frames(f[:1])[0])
        self._next_frame = n + 1
        if not is_cut:
            return f[0]
        frame = f[0].copy()
        frame.props[INTERNAL_CUT_PROP] = 1
        return frame
