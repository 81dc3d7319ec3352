"""Gaps in the time stamps of a clip of constant rate, which lost packets leave behind."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from .damage import Damage

MIN_FRAMES, MIN_REGULAR_RATIO = 12, 0.9
"""Frames, and ratio of regular steps to all, from which on a rate counts as constant."""
MIN_REGULAR_RATIO_OF_DAMAGED = 0.6
"""That of files which have holes."""
MAX_DISTINCT_STEPS = 1000


class GapWatch:
    """Watches the steps from frame to frame."""

    def __init__(self) -> None:
        """Start without frames."""
        self._steps: Counter[int] = Counter()
        self._last: int | None = None
        self._longest: tuple[int, int] | None = None  # longest step, of equal ones the first: its start and length

    def push(self, pts: int) -> None:
        """Take the time stamp of the next frame."""
        if self._last is not None and len(self._steps) < MAX_DISTINCT_STEPS:
            step = pts - self._last
            self._steps[step] += 1
            if self._longest is None or step > self._longest[1]:
                self._longest = self._last, step
        self._last = pts

    def count_missing(self, min_regular_ratio: float = MIN_REGULAR_RATIO) -> int:
        """Return the number of frames that would fill the gaps; 0 if the rate is variable.

        Args:
            min_regular_ratio: Ratio of regular steps to all from which on the rate counts as constant.
        """
        total = sum(self._steps.values())
        if total < MIN_FRAMES or len(self._steps) == MAX_DISTINCT_STEPS:
            return 0
        usual = sorted(self._steps.elements())[total // 2]
        regular = sum(
            number for step, number in self._steps.items() if abs(step - usual) <= max(usual > 4, usual // 10)
        )
        if usual < 1 or regular < min_regular_ratio * total:
            return 0
        return sum(number * (round(step / usual) - 1) for step, number in self._steps.items() if step > 1.5 * usual)

    def report(self, damage: Damage, unit: Fraction, *, has_holes: bool) -> None:
        """Account for the gaps as damage if parts of the file cannot be read; else they may be meant, and are noted.

        Args:
            damage: Account of the file.
            unit: Seconds per unit of the time stamps.
            has_holes: Whether parts of the file cannot be read.

        Raises:
            MediaError: If there is damage and it is not tolerated.
        """
        if has_holes and (number := self.count_missing(MIN_REGULAR_RATIO_OF_DAMAGED)):
            damage.add("lost", None if self._longest is None else self._longest[0] * unit, number)
        elif number := self.count_missing():
            total = f"{number} frame{'' if number == 1 else 's'} in all"
            damage.on_note(
                f"{damage.name}: its time stamps have gaps, of {total}; the frames before them are shown longer"
            )
