"""Window frames: 1x1 frames whose properties hold the restored frames of a window, so that no pixels are copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import vapoursynth as vs

from vrt_core import WeightedFrame, blend

from .frames import read_frames, write_frame

_FRAME, _WEIGHT = "_VRTFrame", "_VRTWeight"  # followed by the number of the frame


def pack(
    window_frame: vs.VideoFrame,
    part: WeightedFrame,
    props: Mapping[str, Any],
    vs_format: vs.VideoFormat,
    *,
    keeps_size: bool,
) -> None:
    """Store a window's contribution to one output frame.

    A frame of weight 1 is stored in the format of the result. A frame that is to be blended is stored in float32 with
    its weight, so that it is rounded only once.

    Args:
        window_frame: Frame of the window.
        part: The contribution.
        props: Properties of the source frame, which the restored frame gets.
        vs_format: Format of the result.
        keeps_size: Whether the restored frame is as large as the source frame.
    """
    props = dict(props)
    if not keeps_size:
        props.pop("_Alpha", None)  # a frame of the source's size
    if part.weight != 1:
        vs_format = vs.core.get_video_format(vs.RGBS)
        window_frame.props[f"{_WEIGHT}{part.index}"] = part.weight
    window_frame.props[f"{_FRAME}{part.index}"] = write_frame(part.frame, vs_format, props)


def unpack(n: int, window_frames: Iterable[vs.VideoFrame], vs_format: vs.VideoFormat) -> vs.VideoFrame:
    """Return output frame n, blended if two windows contribute to it.

    Args:
        n: Number of the frame.
        window_frames: Frames of the first and the last window that may contribute; they may be the same.
        vs_format: Format of the result.
    """
    parts: list[WeightedFrame] = []
    props: Mapping[str, Any] = {}
    for window_frame in window_frames:
        frame, weight = window_frame.props.get(f"{_FRAME}{n}"), window_frame.props.get(f"{_WEIGHT}{n}")
        if not isinstance(frame, vs.VideoFrame):  # a cut: only the other window contributes
            continue
        if not isinstance(weight, float):
            return frame
        parts.append(WeightedFrame(n, weight, read_frames([frame])[0]))
        props = frame.props
    return write_frame(blend(parts), vs_format, props)
