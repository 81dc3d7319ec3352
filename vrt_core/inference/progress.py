"""Counters of network passes, for progress bars, and what a call hands down to every pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from ..options import Sigma
from .cache import Cache

_V = TypeVar("_V")

OnStep = Callable[[int, "int | None"], object]
"""Called after every network pass with the passes done and all passes, None where their number is not known."""
RaiseIfCancelled = Callable[[], object]
"""Called before every pass and every block of the network; raises to cancel."""


def never_cancel() -> None:
    """Do nothing; the default of ``RaiseIfCancelled``."""


class PassCounter:
    """Passes of one network."""

    def __init__(self, report: Callable[[], object] = lambda: None) -> None:
        self.done = 0
        self.remaining: int | None = None
        """Passes still to come; None where their number is not known."""
        self.report = report
        """Reports the passes counted so far."""

    def step(self, *, is_complete: bool = True) -> None:
        """Count one pass, and report it if it is complete; else ``report`` is called when it is."""
        self.done += 1
        if self.remaining is not None:
            self.remaining -= 1
        if is_complete:
            self.report()


def pass_counters(on_step: OnStep | None, count: int) -> list[PassCounter]:
    """Return a counter for each network of a chain; together they report to ``on_step``."""

    def report() -> None:
        if on_step is not None:
            done = sum(counter.done for counter in counters)
            remaining = [counter.remaining for counter in counters]
            on_step(done, None if None in remaining else done + sum(n for n in remaining if n is not None))

    counters = [PassCounter(report) for _ in range(count)]
    return counters


@dataclass(frozen=True)
class RunContext:
    """What one call hands down to every pass of one network."""

    sigma_255: Sigma | None = None
    """Noise level in 8-bit units, "auto", or None."""
    cache: Cache | None = None
    """Cache of the clip, if there is one."""
    key_prefix: tuple[Hashable, ...] = ()
    """Beginning of the network's keys in the cache, which several networks share."""
    counter: PassCounter = field(default_factory=PassCounter)
    raise_if_cancelled: RaiseIfCancelled = never_cancel

    def cached(self, key: tuple[Hashable, ...], compute: Callable[[], _V]) -> _V:
        """Return the result of ``compute``, from the cache if there is one that has it for this noise level."""
        return compute() if self.cache is None else self.cache.get((*self.key_prefix, self.sigma_255, *key), compute)
