"""Counting network passes, for progress bars."""

from __future__ import annotations

from collections.abc import Callable

OnStep = Callable[[int, "int | None"], object]
"""Called after every network pass with the passes done and the passes in all, None where that is not known."""
Check = Callable[[], object]
"""Called often; raises to cancel."""


class Meter:
    """Network passes of one network: those done, and those still to come."""

    def __init__(self, report: Callable[[], object] = lambda: None) -> None:
        self.done = 0
        self.left: int | None = None
        self._report = report

    def step(self) -> None:
        """One more pass is done."""
        self.done += 1
        if self.left is not None:
            self.left -= 1
        self._report()


def meters(on_step: OnStep | None, count: int) -> list[Meter]:
    """Return a meter for each network of a chain; together they report to ``on_step``."""

    def report() -> None:
        if on_step is not None:
            done = sum(meter.done for meter in made)
            left = [meter.left for meter in made]
            on_step(done, None if None in left else done + sum(n for n in left if n is not None))

    made = [Meter(report) for _ in range(count)]
    return made
