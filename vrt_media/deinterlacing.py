"""Deinterlacing of decoded frames by libav's bwdif filter: one frame out for each that goes in, at the same time.

It comes before the conversion to R'G'B', because the chroma of interlaced 4:2:0 is interlaced, too. A frame depends on
its neighbours and on the chosen fields alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import av
from av.error import FFmpegError

from .clip import MediaError
from .filter_graph import FilterChain, layout_of
from .interlacing import FieldStatistics
from .planes import plain_format

Fields = Literal["none", "top", "bottom", "all", "flagged"]
"""Which frames are interlaced: none; all, with this field first; all, in the order of their flags, else the top field
first; or those that are flagged so."""
Deinterlace = Literal["off", "auto", "on"]

TimedVideoFrame = tuple[av.VideoFrame, int | None]

_ARGUMENTS: dict[Fields, str] = {
    "top": "parity=tff:deint=all",
    "bottom": "parity=bff:deint=all",
    "all": "parity=auto:deint=all",
    "flagged": "parity=auto:deint=interlaced",
}
_PLANAR_RGB = {"rgb24": "gbrp", "rgb48le": "gbrp16le"}
_UNKNOWN_FORMATS = ("gray9le", "gray10le", "gray12le", "gray14le")
"""Formats that bwdif does not take, and that no other holds without a loss."""


def choose_fields(mode: Deinterlace, statistics: FieldStatistics) -> tuple[Fields, str]:
    """Return which frames to deinterlace, by what was measured, and what the user should know of it, if anything."""
    order, description = statistics.order, f"is {describe_fields(statistics)}"
    is_misflagged = statistics.is_flagged and statistics.is_interlaced is False
    if is_misflagged and mode != "on":
        return "none", f"{description}: not deinterlaced"
    if mode == "off":
        return "none", f"{description}: the models know whole frames only" if order or statistics.is_doubtful else ""
    if statistics.is_telecined:
        return order or "all", f"{description}: deinterlaced, some of its frames are repeated"
    if mode == "on":
        return order or "all", f"{description}, but deinterlaced" if statistics.is_interlaced is False else ""
    if order:
        return order, f"{description}: deinterlaced"
    return "flagged" if statistics.is_interlaced is None else "none", ""


def describe_fields(statistics: FieldStatistics) -> str:
    """Return what was measured, in words that go on a sentence "it is"."""
    number = f"of {statistics.num_frames} frames looked at"
    if statistics.order:
        kind = "telecined film, its pulldown not reversed" if statistics.is_telecined else "interlaced"
        contrast = "" if statistics.is_flagged else ", which it does not state"
        number = f"{max(statistics.num_top, statistics.num_bottom)} {number}"
        return f"{kind} ({statistics.order} field first in {number}{contrast})"
    if statistics.is_interlaced is None:
        kind = "flagged as interlaced" if statistics.is_flagged else "perhaps interlaced"
        return f"{kind} ({statistics.num_determined} {number} are clear enough to tell)"
    contrast = ", although it is flagged as interlaced" if statistics.is_flagged else ""
    return f"progressive ({statistics.num_progressive} {number}{contrast})"


def deinterlace(items: Iterable[TimedVideoFrame], fields: Fields) -> Iterator[TimedVideoFrame]:
    """Deinterlace frames.

    Args:
        items: Frames in order, with their time stamps. If they end with an error, all frames before it come out.
        fields: Which of them are interlaced.

    Yields:
        As many frames, with the same time stamps, size and tags.

    Raises:
        MediaError: If a frame has a pixel format that cannot be deinterlaced, besides the errors of `items`.
    """
    if fields == "none":
        yield from items
        return
    waiting: deque[TimedVideoFrame] = deque()  # what went into the chain
    chain: FilterChain | None = None
    layout: tuple[int, int, str] | None = None
    error: Exception | None = None

    def push(frame: av.VideoFrame | None) -> Iterator[TimedVideoFrame]:
        assert chain is not None
        for output in chain.push(frame):
            source, pts = waiting.popleft()
            output.pts = source.pts
            if source.time_base is not None:
                output.time_base = source.time_base
            yield output, pts

    source = iter(items)
    while True:
        try:
            item = next(source, None)
        except (MediaError, FFmpegError, OSError) as reason:
            item, error = None, reason
        frame = item and item[0]
        current = frame and layout_of(frame)
        if chain is not None and current != layout:  # the end, or another size
            yield from push(None)
            chain = None
        if item is None or frame is None:
            break
        layout = current
        waiting.append(item)
        chain = chain or FilterChain(frame, _filters(frame, fields))
        yield from push(frame)
    if error is not None:
        raise error


def _filters(frame: av.VideoFrame, fields: Fields) -> list[tuple[str, str]]:
    """Return the filters for frames of one format: bwdif takes planar ones, to which conversion changes no sample."""
    name = plain_format(frame.format)
    name = _PLANAR_RGB.get(name, name)
    if name in _UNKNOWN_FORMATS:
        raise MediaError(f"frames of the pixel format {name} cannot be deinterlaced; convert them to gray16le first")
    convert = [] if name == frame.format.name else [("format", f"pix_fmts={name}")]
    return [*convert, ("bwdif", f"mode=send_frame:{_ARGUMENTS[fields]}")]
