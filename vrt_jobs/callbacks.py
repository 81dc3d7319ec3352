"""How a restoration is watched and stopped, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .events import JobEvents


@dataclass(frozen=True)
class Callbacks:
    """How a job is watched and stopped."""

    events: JobEvents
    check: Callable[[], object] = lambda: None
    """Called often; raises `vrt_core.Cancelled` to stop at once."""
    check_after_checkpoint: Callable[[], object] = lambda: None
    """Called where nothing is lost; raises `vrt_core.Cancelled` to stop there."""


@dataclass(frozen=True)
class Result:
    """What came out."""

    num_frames: int
    """Output frames."""
    name: str
    """Where they are."""
    damage: tuple[str, ...] = ()
    """One line for each kind of damaged frames of the input."""
