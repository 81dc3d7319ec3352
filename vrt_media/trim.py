"""Part of a clip that is read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Trim:
    """The part of a clip to read, by frame numbers or by times; all of it by default."""

    start_frame: int = 0
    """Number of the first frame. The frames before it are decoded and dropped, so the cut is exact."""
    max_frames: int | None = None
    start_seconds: Fraction | None = None
    """Time of the first frame; 0 drops frames with negative times, None none."""
    stop_seconds: Fraction | None = None
    """Time that all frames are before."""
