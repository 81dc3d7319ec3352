"""Part of the picture that is restored: a rectangle, written as FFmpeg's crop filter takes it.

A reader crops upright R'G'B' frames, so that odd offsets and sizes lose no chroma.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .clip import MediaError


@dataclass(frozen=True)
class Crop:
    """A rectangle, in pixels of upright frames."""

    width: int
    height: int
    x: int | None = None
    """Column of its left edge; None centres it."""
    y: int | None = None
    """Row of its top edge; None centres it."""

    def __post_init__(self) -> None:
        """Reject rectangles that no frame has.

        Raises:
            ValueError: If width or height is less than 1 pixel, or an offset is negative.
        """
        if self.width < 1 or self.height < 1 or (self.x or 0) < 0 or (self.y or 0) < 0:
            raise ValueError(f"crop {self} needs a width and a height of at least 1 pixel, and offsets of at least 0")

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Return the rectangle of W:H:X:Y, or of W:H, in the middle.

        Raises:
            ValueError: If the text is neither, or if no frame has such a rectangle.
        """
        words = text.split(":")
        if len(words) not in (2, 4) or not all(word.strip().isdecimal() for word in words):
            raise ValueError(f"{text!r} is neither W:H:X:Y nor W:H, in whole pixels")
        return cls(*map(int, words))

    def __str__(self) -> str:
        """Return W:H:X:Y, or W:H."""
        numbers = (self.width, self.height) if self.x is None else (self.width, self.height, self.x, self.y)
        return ":".join(map(str, numbers))

    def within(self, height: int, width: int, name: str) -> Crop:
        """Return the rectangle with its offsets in frames of a size.

        Args:
            height: Height of the frames, pixels.
            width: Width of the frames, pixels.
            name: Name of the clip, for the message.

        Raises:
            MediaError: If it reaches over an edge.
        """
        x = max(0, width - self.width) // 2 if self.x is None else self.x
        y = max(0, height - self.height) // 2 if self.y is None else self.y
        if x + self.width > width or y + self.height > height:
            raise MediaError(
                f"{name}: crop {self} (W:H:X:Y) reaches to column {x + self.width} and row {y + self.height}, but "
                f"frames have {width}x{height} pixels"
            )
        return Crop(self.width, self.height, x, y)

    def cut(self, rgb: Tensor) -> Tensor:
        """Return the part of a frame, (3, H, W) -> (3, height, width); offsets must be given."""
        x, y = self.x or 0, self.y or 0
        return rgb[:, y : y + self.height, x : x + self.width].contiguous()


def whole_frame(height: int, width: int) -> Crop:
    """Return the rectangle that leaves nothing out."""
    return Crop(width, height, 0, 0)
