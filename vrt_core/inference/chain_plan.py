"""Window plan of several networks in a row: each window lists the earlier windows whose frames it reads.

The first networks form the head, the last one is the tail. A chain of three is a head of two, planned in the same way,
and a tail. Scene cuts are those of the source.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .window_plan import Plan, Window


@dataclass(frozen=True)
class ChainWindow(Window):
    """A window of the tail with the windows of the head that it needs. ``start`` and ``stop`` count source frames."""

    tail: Window
    """Window of the last network, in output frames of the head."""
    head: tuple[Window, ...]
    """Windows of the head whose output the tail reads, in order."""


class ChainPlan(Plan):
    """The windows of the tail, each with the windows of the head that it needs."""

    def __init__(self, head: Plan, tail: Plan, cuts: Sequence[int] = ()) -> None:
        """Combine the plans of head and tail; ``cuts`` are those of the source."""
        self.head, self.tail, self.cuts = head, tail, cuts
        self.num_frames, self.num_frames_out = head.num_frames, tail.num_frames_out

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.tail)

    def windows_for_frame(self, n_out: int) -> range:
        """Return the windows that contribute to output frame ``n_out``."""
        return self.tail.windows_for_frame(n_out)

    def _window(self, k: int) -> ChainWindow:
        tail = self.tail[k]
        first, last = self.head.windows_for_frame(tail.start), self.head.windows_for_frame(tail.stop - 1)
        head = self.head[first.start : last.stop]
        start, stop = min(window.start for window in head), max(window.stop for window in head)
        cuts = tuple(self.cuts[bisect_right(self.cuts, start) : bisect_left(self.cuts, stop)])
        return ChainWindow(k, start, stop, cuts, tail.output_weights, (), tail, head)
