"""Carriers: 1x1 frames whose properties hold what a window has made, so that handing frames on copies nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import vapoursynth as vs

from vrt_core import Share, blend

from .frames import read_frames, write_frame

_FRAME, _WEIGHT = "_VRTFrame", "_VRTWeight"  # and the number of the frame


def put(
    carrier: vs.VideoFrame, share: Share, props: Mapping[str, Any], vs_format: vs.VideoFormat, *, keeps_size: bool
) -> None:
    """Put what a window has made of a source frame into its carrier.

    A frame that the window decides alone is in the format of the result. One that is to be blended stays in float32,
    so that it is rounded once, and its weight lies beside it.

    Args:
        carrier: Of the window.
        share: The restored frame.
        props: Properties of the source frame, which it is given.
        vs_format: Of the result.
        keeps_size: Whether both frames are of one size.
    """
    props = dict(props)
    if not keeps_size:
        props.pop("_Alpha", None)  # a frame, of the old size
    whole = share.weight == 1
    if not whole:
        vs_format = vs.core.get_video_format(vs.RGBS)
        carrier.props[f"{_WEIGHT}{share.index}"] = share.weight
    carrier.props[f"{_FRAME}{share.index}"] = write_frame(share.frame, vs_format, props)


def take(n: int, carriers: Iterable[vs.VideoFrame], vs_format: vs.VideoFormat) -> vs.VideoFrame:
    """Return frame n of the clip.

    Args:
        n: Its number.
        carriers: Those of the first and of the last window that see it; they may be the same.
        vs_format: Of the clip.
    """
    shares, props = [], {}
    for carrier in carriers:
        found = cast(Any, carrier.props)
        frame = found.get(f"{_FRAME}{n}")
        if frame is None:  # a cut leaves it to the other window
            continue
        weight = found.get(f"{_WEIGHT}{n}")
        if weight is None:
            return frame
        shares.append(Share(n, weight, read_frames([frame])[0]))
        props = frame.props
    return write_frame(blend(shares), vs_format, props)
