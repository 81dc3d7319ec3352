"""Time stamps: those of the source for restored frames, and the ones between for interpolated frames."""

import logging
from collections import deque
from fractions import Fraction
from typing import Any

log = logging.getLogger(__name__)


class Timeline:
    """Says when each output frame is shown, holding no more stamps than frames in flight.

    Output frame ``factor * n + j`` lies ``j / factor`` of the way from source frame n to n + 1; after the last frame
    the distance before it counts on, so the clip keeps its length. Stamps are integers on `time_base`, a grid
    ``factor`` times as fine as the source's, hence exact, for variable rates as well.
    """

    def __init__(self, *, time_base: Fraction, frame_duration: int, factor: int = 1) -> None:
        """Set the grid.

        Args:
            time_base: Seconds per unit of the source's stamps.
            frame_duration: Usual distance of two frames in those units; used for stamps that are missing, and after
                the last frame if it is the only one.
            factor: Output frames per source frame.
        """
        self.time_base = time_base / factor
        self.factor = factor
        self._frame_duration = max(1, frame_duration)
        self._stamps: deque[int] = deque()
        self._first = 0  # number of the source frame whose stamp is self._stamps[0]
        self._repaired = 0
        self._last_out: int | None = None

    def push(self, pts: int | None) -> None:
        """Note the stamp of the next source frame; a missing or falling one is put one frame after the last."""
        last = self._stamps[-1] if self._stamps else None
        if last is None:
            self._stamps.append(0 if pts is None else pts)
            return
        if pts is None or pts <= last:
            if pts is not None and not self._repaired:
                log.warning("time stamps do not rise (%d after %d); such frames are shown one frame later", pts, last)
            self._repaired += pts is not None
            pts = last + self._frame_duration
        self._stamps.append(pts)

    def stamp(self, index: int) -> int:
        """The stamp of output frame `index`, in units of `time_base`; asked for in rising order."""
        source, part = divmod(index, self.factor)
        while source > self._first + 1 and len(self._stamps) > 2:  # the one before is kept: it gives the last distance
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
        if self._last_out is not None:  # only a guess of the distance, at a cut that was known before, can fall behind
            stamp = max(stamp, self._last_out + 1)
        self._last_out = stamp
        return stamp


def as_fraction(value: Any, default: Fraction) -> Fraction:
    """PyAV's rationals, which may be None or 0/0, as a fraction."""
    return Fraction(value.numerator, value.denominator) if value else default
