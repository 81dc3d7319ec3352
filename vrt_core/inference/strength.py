"""Strength of a restoration: restored frames mixed with the frames that a network read, luma and chroma apart.

The mixture is linear and comes before the cross-fade of windows, so every entry point computes it from the same two
frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..options import RestoreOptions


@dataclass(frozen=True)
class Strength:
    """Fractions of the restored frame in the result."""

    luma: float = 1.0
    chroma: float = 1.0
    luma_weights: tuple[float, float] = (0.2126, 0.0722)
    """Weights of red and blue in luma (Kr and Kb of ITU-T H.273)."""

    @classmethod
    def from_options(cls, options: RestoreOptions) -> Strength:
        """Return the strength that options ask for."""
        chroma = options.strength if options.chroma_strength is None else options.chroma_strength
        return cls(options.strength, chroma, options.luma_weights)

    def mix(self, restored: Tensor, source: Tensor) -> Tensor:
        """Mix a restored frame with its source.

        Args:
            restored: (3, s*H, s*W), float32.
            source: (3, H, W), float32; enlarged by a bicubic filter if s is not 1.

        Returns:
            (3, s*H, s*W); the restored frame itself at full strength.
        """
        if self.luma == self.chroma == 1:
            return restored
        if restored.shape != source.shape:
            source = F.interpolate(source[None], restored.shape[1:], mode="bicubic", align_corners=False)[0]
        change = restored - source
        mixed = source + self.chroma * change
        if self.luma != self.chroma:  # red, green and blue less luma are chroma: what is added to all changes luma only
            kr, kb = self.luma_weights
            red, green, blue = change
            mixed += (self.luma - self.chroma) * (kr * red + (1 - kr - kb) * green + kb * blue)
        return mixed


FULL_STRENGTH = Strength()
"""Restored frames as they are."""
