"""Tiles: parts of frames that the network sees one at a time, cross-faded where they overlap.

An axis is covered by tiles as a clip is by windows (``plan``): a fixed grid, linear ramps, the last tile reaching back.
Tiles begin at multiples of 8 px and their sizes are such multiples, so crops of flow pyramids line up at every level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from ..errors import InputError
from .window_plan import FadedPlan

TileSize = tuple[int, int]
"""(height, width) in pixels of the LQ grid."""

_LADDER_PX = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 32)
_DEFAULT_OVERLAP_PX = 32


@dataclass(frozen=True)
class Span:
    """One tile along one axis."""

    start: int
    """First LQ pixel that it reads."""
    stop: int
    """End of the LQ pixels that it reads."""
    weights: Tensor
    """Weight of each of its HQ pixels, (scale * (stop - start),) float32."""


@lru_cache(maxsize=256)
def axis_spans(size: int, tile: int, overlap: int, scale: int) -> tuple[Span, ...]:
    """Cover an axis with tiles whose weights sum to 1 at every pixel.

    Args:
        size: Length of the axis, LQ pixels.
        tile: Length of a tile, LQ pixels, at most ``size``.
        overlap: LQ pixels that two tiles share, at most half a tile.
        scale: HQ pixels to one LQ pixel.
    """
    spans = []
    for window in FadedPlan(size * scale, tile * scale, overlap * scale):
        weights = torch.zeros(tile * scale)
        for pixel, weight in window.shares:
            weights[pixel - window.start] = weight
        spans.append(Span(window.start // scale, window.stop // scale, weights))
    return tuple(spans)


@dataclass(frozen=True)
class Tiling:
    """How frames of one size are cut into tiles."""

    size: TileSize
    """(H, W) of the frames."""
    tile: TileSize
    """(H, W) of a tile, at most ``size``."""
    overlap: TileSize
    """What neighbouring tiles share along either axis."""

    def __len__(self) -> int:
        """Return the number of tiles."""
        rows, columns = (len(FadedPlan(*axis)) for axis in zip(self.size, self.tile, self.overlap, strict=True))
        return rows * columns

    def tiles(self, scale: int) -> list[tuple[Span, Span]]:
        """Return (rows, columns) of each tile, line by line."""
        return list(product(self._spans(0, scale), self._spans(1, scale)))

    def _spans(self, axis: int, scale: int) -> tuple[Span, ...]:
        return axis_spans(self.size[axis], self.tile[axis], self.overlap[axis], scale)


def lay_tiles(size: TileSize, tile: TileSize, overlap_px: int | None, multiple_px: int) -> Tiling:
    """Cut frames of (H, W) into tiles of at most ``tile`` (0: the whole axis) that overlap as asked, or as suits."""
    tile = min(tile[0] or size[0], size[0]), min(tile[1] or size[1], size[1])
    rows, columns = (_overlap(side, overlap_px, multiple_px) for side in tile)
    return Tiling(size, tile, (rows, columns))


def _overlap(side: int, overlap_px: int | None, multiple_px: int) -> int:
    """Return what tiles of this length share: as asked, or a quarter and at most 32 px."""
    most = side // 2 if overlap_px is not None else side // 4
    wanted = _DEFAULT_OVERLAP_PX if overlap_px is None else overlap_px
    return min(wanted, most) // multiple_px * multiple_px


def fitting_tile(
    size: TileSize, least_px: int, overlap_px: int | None, multiple_px: int, fits: Callable[[TileSize], bool]
) -> TileSize:
    """Return the tile that covers frames of (H, W) with the fewest pixels computed twice, of those that ``fits``.

    Tiles are what an even split of an axis into 1, 2, ... parts gives, so that none reaches further back than it must.
    Those too short for a full overlap come last; of equal ones the larger wins; if none fits, the smallest that the
    network takes is returned.
    """

    def sides(length: int) -> list[int]:
        found = {}
        for count in range(1, length // multiple_px + 1):
            side = length
            for _ in range(2):  # the overlap follows from the side, and the side from the overlap
                shared = (count - 1) * _overlap(side, overlap_px, multiple_px)
                side = -(-(length + shared) // (count * multiple_px)) * multiple_px
            if min(side, length) < least_px:
                break
            found[min(side, length)] = None
        return list(found) or [min(least_px, length)]

    def cost(tile: TileSize) -> tuple[bool, int, int]:
        short = any(side < min(4 * _DEFAULT_OVERLAP_PX, length) for side, length in zip(tile, size, strict=True))
        area = tile[0] * tile[1]
        return short, len(lay_tiles(size, tile, overlap_px, multiple_px)) * area, -area

    rising = sorted(product(sides(size[0]), sides(size[1])), key=cost)
    least = min(least_px, size[0]), min(least_px, size[1])
    return next((tile for tile in rising if fits(tile)), least)


def smaller_tiles(tile: TileSize, least_px: int) -> list[TileSize]:
    """Return what to try after ``tile``, largest first; none if it is as small as the network takes."""
    ladder = [px for px in _LADDER_PX if least_px < px < max(tile)]
    ladder += [least_px] if least_px < max(tile) else []
    return [(min(tile[0], px), min(tile[1], px)) for px in ladder]


def check_tile(tile_px: object, overlap_px: object, *, multiple_px: int, least_px: int) -> TileSize | None:
    """Return the tile that a user asks for, (0, 0) for whole frames and None for "auto".

    Raises:
        InputError: If the network cannot work on such tiles.
    """
    if isinstance(tile_px, str) and tile_px == "auto":
        sides = None
    elif isinstance(tile_px, int):
        sides = (tile_px, tile_px)
    elif isinstance(tile_px, (tuple, list)) and len(tile_px) == 2:
        sides = tile_px[0], tile_px[1]
    else:
        raise InputError(
            f"tile_px ({tile_px!r}) must be auto, 0 (whole frames), a number of pixels, or (height, width)"
        )
    for side in sides or ():
        if side != 0 and not _is_tile_side(side, multiple_px, least_px):
            raise InputError(
                f"tile_px ({tile_px!r}) must be a multiple of {multiple_px} px and at least {least_px} px on the input "
                f"grid, or 0 for whole frames; {_nearest(side, multiple_px, least_px)} would do"
            )
    if overlap_px is not None:
        sized = [side for side in sides or () if side]
        most = min(sized) // 2 if sized else None
        if not _is_tile_side(overlap_px, multiple_px, 0, most):
            limit = "" if most is None else f" and at most half of tile_px, {most} px"
            rule = f"a multiple of {multiple_px} px, at least 0{limit}, on the input grid"
            raise InputError(f"tile_overlap_px ({overlap_px!r}) must be {rule}")
    return sides


def _is_tile_side(side: object, multiple_px: int, least_px: int, most_px: int | None = None) -> bool:
    if not isinstance(side, int) or side % multiple_px or side < least_px:
        return False
    return most_px is None or side <= most_px


def _nearest(side: object, multiple_px: int, least_px: int) -> int:
    near = round(side / multiple_px) * multiple_px if isinstance(side, int) else least_px
    return max(near, least_px)
