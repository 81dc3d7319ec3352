"""Time stamps of restored and interpolated frames."""

from __future__ import annotations

import logging
from collections import deque
from fractions import Fraction
from typing import Any

_log = logging.getLogger(__name__)

MAX_OVERLAP_FRAMES = 5
"""Longest overlap of two parts of a clip that is evened out, in frames; longer falls are new beginnings."""


class Timeline:
    """Computes the time stamp of each output frame; holds the time stamps of the frames in flight only.

    Output frame ``factor * n + j`` lies ``j / factor`` of the way from source frame n to n + 1. The last frame has the
    duration of the frame before it, so the clip keeps its length. Time stamps are integers in units of `time_base`,
    ``factor`` times finer than the source's, so they are exact for variable rates as well.
    """

    def __init__(self, *, time_base: Fraction, frame_duration: int, factor: int = 1) -> None:
        """Start without frames.

        Args:
            time_base: Seconds per unit of the source's time stamps.
            frame_duration: Usual duration of a frame in those units, for missing time stamps and clips of one frame.
            factor: Output frames per source frame.
        """
        self.time_base = time_base / factor
        self.factor = factor
        self._frame_duration = max(1, frame_duration)
        self._stamps: deque[int] = deque()
        self._first = 0  # number of the source frame of self._stamps[0]
        self._repaired = 0
        self._last_out: int | None = None
        self._num_stamped = 0  # output frames

    def push(self, pts: int | None) -> None:
        """Append the time stamp of the next source frame.

        If it is missing or does not rise, it becomes the last plus a frame duration; after a fall of a few frames, plus
        half of one, until the stamps are where they should be.
        """
        last = self._stamps[-1] if self._stamps else None
        if last is None:
            self._stamps.append(0 if pts is None else pts)
            return
        if pts is None or pts <= last:
            if pts is not None and not self._repaired:
                _log.warning("time stamps do not rise (%d after %d); such frames are shown later", pts, last)
            self._repaired += pts is not None
            is_small = pts is not None and last - pts < MAX_OVERLAP_FRAMES * self._frame_duration
            pts = last + (max(1, self._frame_duration // 2) if is_small else self._frame_duration)
        self._stamps.append(pts)

    def stamp(self, index: int) -> int:
        """Return the time stamp of an output frame, in units of `time_base`; call it in the order of the frames.

        Frames may be left out at the beginning: their time stamps decide about the later ones all the same.
        """
        while self._num_stamped < index:
            self._next_stamp(self._num_stamped)
        return self._next_stamp(index)

    def _next_stamp(self, index: int) -> int:
        self._num_stamped = index + 1
        source, part = divmod(index, self.factor)
        while source > self._first + 1 and len(self._stamps) > 2:  # one is retained before it, for the last duration
            self._stamps.popleft()
            self._first += 1
        here = source - self._first
        start = self._stamps[here]
        if here + 1 < len(self._stamps):
            distance = self._stamps[here + 1] - start
        elif here > 0:
            distance = start - self._stamps[here - 1]
        else:
            distance = self._frame_duration
        stamp = start * self.factor + distance * part
        if self._last_out is not None:  # a guessed duration, before a cut, may have been too long
            stamp = max(stamp, self._last_out + 1)
        self._last_out = stamp
        return stamp


def as_fraction(value: Any, default: Fraction) -> Fraction:
    """Convert one of PyAV's rationals; return `default` if it is None or 0."""
    return Fraction(value.numerator, value.denominator) if value else default
