"""Gaps in the time stamps of a clip of constant rate, which lost packets leave behind."""

from __future__ import annotations

from collections import Counter

MIN_FRAMES, MIN_REGULAR_RATIO = 12, 0.9
"""Frames, and ratio of regular steps to all, from which on a rate counts as constant."""
MAX_DISTINCT_STEPS = 1000


class GapWatch:
    """Watches the steps from frame to frame."""

    def __init__(self) -> None:
        """Start without frames."""
        self._steps: Counter[int] = Counter()
        self._last: int | None = None

    def push(self, pts: int) -> None:
        """Take the time stamp of the next frame."""
        if self._last is not None and len(self._steps) < MAX_DISTINCT_STEPS:
            self._steps[pts - self._last] += 1
        self._last = pts

    @property
    def num_missing(self) -> int:
        """Number of frames that would fill the gaps; 0 if the rate is variable."""
        total = sum(self._steps.values())
        if total < MIN_FRAMES or len(self._steps) == MAX_DISTINCT_STEPS:
            return 0
        usual = sorted(self._steps.elements())[total // 2]
        regular = sum(
            number for step, number in self._steps.items() if abs(step - usual) <= max(usual > 4, usual // 10)
        )
        if usual < 1 or regular < MIN_REGULAR_RATIO * total:
            return 0
        return sum(number * (round(step / usual) - 1) for step, number in self._steps.items() if step > 1.5 * usual)
