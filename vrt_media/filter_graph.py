"""Chains of libav's video filters, fed frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
from av.filter import Graph

UNIT = Fraction(1, 1000)
"""Time base of the chains; time stamps are those that the caller sets."""


def layout_of(frame: av.VideoFrame) -> tuple[int, int, str]:
    """Return what all frames of a chain have in common: width, height, and pixel format."""
    return frame.width, frame.height, frame.format.name


class FilterChain:
    """Filters in a row, for frames of one size and pixel format."""

    def __init__(self, frame: av.VideoFrame, filters: Sequence[tuple[str, str]]) -> None:
        """Configure the filters.

        Args:
            frame: Any frame of the size and format.
            filters: Name and arguments of each.
        """
        self._graph = Graph()
        source = {
            "video_size": f"{frame.width}x{frame.height}",
            "pix_fmt": frame.format.name,
            "time_base": str(UNIT),
            "colorspace": str(int(frame.colorspace)),
            "range": str(int(frame.color_range)),
        }
        nodes = [self._graph.add("buffer", **source)]
        nodes += [self._graph.add(name, arguments or None) for name, arguments in filters]
        nodes.append(self._graph.add("buffersink"))
        self._graph.link_nodes(*nodes)
        self._graph.configure()

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Pass a frame on, or None for the end; return the frames that come out, which may be earlier ones."""
        self._graph.vpush(frame)
        frames: list[av.VideoFrame] = []
        while True:
            try:
                frames.append(self._graph.vpull())
            except (BlockingIOError, EOFError):  # more input is needed, or none is left
                return frames
