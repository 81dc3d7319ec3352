"""Tile plan: overlapping parts of a frame that the network processes one at a time, cross-faded.

An axis is covered by tiles like a clip by windows (``window_plan``): a fixed grid, linear ramps, an earlier start of
the last tile. Tiles start at multiples of 8 px and have such sizes, so flow pyramids align at every level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from ..errors import InputError
from .window_plan import CrossfadePlan

TileSize = tuple[int, int]
"""(height, width) in input pixels."""

_LADDER_PX = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 32)
_DEFAULT_OVERLAP_PX = 32


@dataclass(frozen=True)
class TileSpan:
    """One tile along one axis."""

    start: int
    """First input pixel."""
    stop: int
    """End of the input pixels, exclusive."""
    weights: Tensor
    """Weight of each output pixel, (scale * (stop - start),) float32."""


@lru_cache(maxsize=256)
def axis_spans(size: int, tile: int, overlap: int, scale: int) -> tuple[TileSpan, ...]:
    """Cover an axis with tiles whose weights sum to 1 at every pixel.

    Args:
        size: Length of the axis, input pixels.
        tile: Length of a tile, input pixels, at most ``size``.
        overlap: Input pixels that two tiles share, at most half a tile.
        scale: Output pixels per input pixel.
    """
    spans = []
    for window in CrossfadePlan(size * scale, tile * scale, overlap * scale):
        weights = torch.zeros(tile * scale)
        for pixel, weight in window.output_weights:
            weights[pixel - window.start] = weight
        spans.append(TileSpan(window.start // scale, window.stop // scale, weights))
    return tuple(spans)


@dataclass(frozen=True)
class Tiling:
    """How frames of one size are cut into tiles."""

    size: TileSize
    """(H, W) of the frames."""
    tile: TileSize
    """(H, W) of a tile, at most ``size``."""
    overlap: TileSize
    """Pixels that neighbouring tiles share along either axis."""

    def __len__(self) -> int:
        """Return the number of tiles."""
        rows, columns = (len(CrossfadePlan(*axis)) for axis in zip(self.size, self.tile, self.overlap, strict=True))
        return rows * columns

    def tiles(self, scale: int) -> list[tuple[TileSpan, TileSpan]]:
        """Return (rows, columns) of each tile, row by row."""
        return list(product(self._spans(0, scale), self._spans(1, scale)))

    def _spans(self, axis: int, scale: int) -> tuple[TileSpan, ...]:
        return axis_spans(self.size[axis], self.tile[axis], self.overlap[axis], scale)


def make_tiling(size: TileSize, tile: TileSize, overlap_px: int | None, multiple_px: int) -> Tiling:
    """Return the tiling of frames (H, W) into tiles of at most ``tile`` (0: the whole axis)."""
    tile = min(tile[0] or size[0], size[0]), min(tile[1] or size[1], size[1])
    rows, columns = (_overlap(side, overlap_px, multiple_px) for side in tile)
    return Tiling(size, tile, (rows, columns))


def _overlap(side: int, overlap_px: int | None, multiple_px: int) -> int:
    """Return the overlap of tiles of this length: as given, else a quarter of it and at most 32 px."""
    limit = side // 2 if overlap_px is not None else side // 4
    overlap = _DEFAULT_OVERLAP_PX if overlap_px is None else overlap_px
    return min(overlap, limit) // multiple_px * multiple_px


def choose_tile_size(
    size: TileSize, min_px: int, overlap_px: int | None, multiple_px: int, fits: Callable[[TileSize], bool]
) -> TileSize:
    """Return the tile size that covers frames (H, W) with the fewest pixels computed twice, among those that fit.

    Candidates divide each axis evenly into 1, 2, ... parts, so that the last tile overlaps no more than the others.
    Tiles too short for a full overlap come last; among equals the largest wins. If none fits, the result is the
    smallest size that the network takes.
    """

    def sides(length: int) -> list[int]:
        sizes: dict[int, None] = {}
        for count in range(1, length // multiple_px + 1):
            side = length
            for _ in range(2):  # overlap and side depend on each other
                shared = (count - 1) * _overlap(side, overlap_px, multiple_px)
                side = -(-(length + shared) // (count * multiple_px)) * multiple_px
            if min(side, length) < min_px:
                break
            sizes[min(side, length)] = None
        return list(sizes) or [min(min_px, length)]

    def cost(tile: TileSize) -> tuple[bool, int, int]:
        short = any(side < min(4 * _DEFAULT_OVERLAP_PX, length) for side, length in zip(tile, size, strict=True))
        area = tile[0] * tile[1]
        return short, len(make_tiling(size, tile, overlap_px, multiple_px)) * area, -area

    candidates = sorted(product(sides(size[0]), sides(size[1])), key=cost)
    smallest = min(min_px, size[0]), min(min_px, size[1])
    return next((tile for tile in candidates if fits(tile)), smallest)


def smaller_tile_sizes(tile: TileSize, min_px: int) -> list[TileSize]:
    """Return the sizes to try after ``tile`` ran out of memory, largest first; none below the network's minimum."""
    ladder = [px for px in _LADDER_PX if min_px < px < max(tile)]
    ladder += [min_px] if min_px < max(tile) else []
    return [(min(tile[0], px), min(tile[1], px)) for px in ladder]


def check_tile(tile_px: object, overlap_px: object, *, multiple_px: int, min_px: int) -> TileSize | None:
    """Return the tile size of an option: (0, 0) for whole frames, None for "auto".

    Raises:
        InputError: If the network does not take such tiles.
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
        if side != 0 and not _is_tile_side(side, multiple_px, min_px):
            raise InputError(
                f"tile_px ({tile_px!r}) must be a multiple of {multiple_px} px and at least {min_px} px on the input "
                f"grid, or 0 for whole frames; {_nearest(side, multiple_px, min_px)} would do"
            )
    if overlap_px is not None:
        sized = [side for side in sides or () if side]
        limit_px = min(sized) // 2 if sized else None
        if not _is_tile_side(overlap_px, multiple_px, 0, limit_px):
            limit = "" if limit_px is None else f" and at most half of tile_px, {limit_px} px"
            rule = f"a multiple of {multiple_px} px, at least 0{limit}, on the input grid"
            raise InputError(f"tile_overlap_px ({overlap_px!r}) must be {rule}")
    return sides


def _is_tile_side(side: object, multiple_px: int, min_px: int, max_px: int | None = None) -> bool:
    if not isinstance(side, int) or side % multiple_px or side < min_px:
        return False
    return max_px is None or side <= max_px


def _nearest(side: object, multiple_px: int, min_px: int) -> int:
    nearest = round(side / multiple_px) * multiple_px if isinstance(side, int) else min_px
    return max(nearest, min_px)
