"""The frames of a stream as they arrive: checked, counted, and marked where a scene begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from torch import Tensor

from ..analysis.scenes import CutDetector
from ..errors import InputError
from .validation import check_frame

Marked = tuple[Tensor, bool]
"""A frame, (C, H, W), and whether a new scene begins with it."""


class Arrivals(Iterator[Marked]):
    """Marked frames, float32, each in memory of its own: the source may use its buffers again."""

    def __init__(
        self,
        frames: Iterable[Tensor],
        *,
        name: str,
        channels: int,
        num_frames: int | None,
        cuts: tuple[int, ...] | None,
    ) -> None:
        """Take the first frame.

        Args:
            frames: (C, H, W) each.
            name: Of the model, for errors.
            channels: The most that the model takes.
            num_frames: How many frames there should be, None if it is not known; no more than these are handed on.
            cuts: First frames of scenes; None to look for them.
        """
        self._source = iter(frames)
        self._frames = islice(self._source, num_frames)
        self._name, self._channels, self._expected = name, channels, num_frames
        self._detect = CutDetector() if cuts is None else None
        self._cuts = frozenset(cuts or ())
        self._count = 0
        first = next(self._frames, None)
        if first is None:
            raise InputError("frames is empty; there must be at least 1 frame")
        self._first: Tensor | None = check_frame(first, 0, name, channels)
        self.shape, self._device = self._first.shape, self._first.device

    def __next__(self) -> Marked:
        """Return the next frame."""
        if self._first is not None:
            frame, self._first = self._first, None
        else:
            frame = check_frame(
                next(self._frames), self._count, self._name, self._channels, shape=self.shape, device=self._device
            )
        begins = self._detect(frame) if self._detect else self._count in self._cuts
        self._count += 1
        return frame, begins

    def check_count(self) -> None:
        """Raise InputError if the source had fewer frames than it should, or has more; for the end of the stream."""
        if self._expected is not None and self._count < self._expected:
            raise InputError(
                f"num_frames ({self._expected}) is more than the {self._count} frames that came; all were restored"
            )
        if self._expected is not None and next(self._source, None) is not None:
            raise InputError(
                f"num_frames ({self._expected}) is less than the frames that came; the others were not restored"
            )
