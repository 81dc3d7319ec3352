"""Account of the frames of a clip that could not be decoded as they were encoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from .clip import MediaError

REASONS = {
    "repeated": "cannot be decoded: the frame before is repeated",
    "concealed": "can be decoded with errors only: data of other frames is lost",
    "missing": "cannot be decoded: left out",
    "lost": "should be there: a part of the file cannot be read",
    "truncated": "should follow: the file ends before its announced length",
}
"""What happened to frames, by kind."""


@dataclass
class Damage:
    """Counts of damaged frames, and the time of the first of each kind.

    Attributes:
        strict: Whether the first damaged frame ends the job.
    """

    name: str
    """Name of the file, for messages."""
    zero: Fraction = Fraction(0)
    """Time in the file from which messages count, seconds."""
    strict: bool = False
    on_note: Callable[[str], object] = lambda _: None
    """Called at the first damaged frame of each kind."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of frames, by kind."""
    starts: dict[str, Fraction | None] = field(default_factory=dict)
    """Time of the first of these frames from `zero` on, in seconds, None if unknown."""

    def add(self, kind: str, seconds: Fraction | None, num_frames: int = 1) -> None:
        """Count frames of a kind of `REASONS`, which begin at a time.

        Raises:
            MediaError: If damage is not tolerated.
        """
        is_first = kind not in self.counts
        self.counts[kind] = self.counts.get(kind, 0) + num_frames
        seconds = None if seconds is None else seconds - self.zero
        self.starts.setdefault(kind, seconds)
        if self.strict:
            raise MediaError(f"{self.name} is damaged: {self.lines()[-1]}")
        if is_first:
            self.on_note(f"{self.name}: frames {_at(seconds)} {REASONS[kind]}")

    def lines(self) -> list[str]:
        """Return one line for each kind: number, first time, reason."""
        return [
            f"{number} frame{'' if number == 1 else 's'} ({_at(self.starts[kind])}) {REASONS[kind]}"
            for kind, number in self.counts.items()
        ]


def _at(seconds: Fraction | None) -> str:
    return "at an unknown time" if seconds is None else f"from {float(seconds):.3f} s on"
