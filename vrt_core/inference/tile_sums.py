"""Sums of the results of overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import NumericsError
from ..hardware.devices import precision_name
from .tile_plan import TileSpan

Tile = tuple[TileSpan, TileSpan]
"""Rows and columns of a tile."""


class TileSums:
    """Sums of weighted tiles, one for each output frame."""

    def __init__(
        self, frames: list[Tensor], numbers: Sequence[int], *, scale: int, name: str, dtype: torch.dtype
    ) -> None:
        """Start with frames of zeros.

        Args:
            frames: The sums, (3, H, W) each, changed in place.
            numbers: Their numbers in the clip, for messages.
            scale: Height of the frames over that of the tiles.
            name: Name of the model, for messages.
            dtype: Precision of the network, for messages.
        """
        self._frames, self._numbers, self._scale, self._name, self._dtype = frames, numbers, scale, name, dtype

    def add(self, wait_download: Callable[[], list[Tensor]], tile: Tile) -> None:
        """Add the weighted frames of a tile when their copy has ended.

        Raises:
            NumericsError: If a frame has NaN or infinity.
        """
        parts, is_finite = wait_download()
        top, left = (self._scale * span.start for span in tile)
        for frame, part, number, finite in zip(self._frames, parts, self._numbers, is_finite.tolist(), strict=True):
            if not finite:
                precision = precision_name(self._dtype)
                raise NumericsError(f"model {self._name} gave NaN or infinity for output frame {number} in {precision}")
            target = frame[:, top : top + part.shape[1], left : left + part.shape[2]]
            target += part[:, : target.shape[1], : target.shape[2]]
