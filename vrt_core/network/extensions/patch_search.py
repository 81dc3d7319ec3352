"""Search for the patches of a clip that are most similar to those of a grid, which lie side by side."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.mode import use_reference

PATCH_PX = 8
SEARCH_PX, SEARCH_FRAMES = 6, 4
"""How far away similar patches are looked for, along either axis and in time."""
_SIDE = 2 * SEARCH_PX + 1
NUM_CANDIDATES = (2 * SEARCH_FRAMES + 1) * _SIDE**2
_FAR = 1e3
"""Value beyond the frame, where no patch is similar."""


def search(guide: Tensor, rows: tuple[int, int], count: int) -> Tensor:
    """Return the places of the patches that are most similar, by their mean squared difference.

    Args:
        guide: Frames to compare, (T, H, W); H and W are multiples of ``PATCH_PX``, at least two.
        rows: First and last row of the grid, [start, stop).
        count: Patches for each place of the grid, itself among them; at most (SEARCH_PX + 1)^2, which corners have.

    Returns:
        (T * rows * columns, count): numbers of the upper left pixels in the clip, which has T * H * W.
    """
    T, H, W = guide.shape
    top, height = rows[0] * PATCH_PX, (rows[1] - rows[0]) * PATCH_PX
    here = guide[:, top : top + height]
    around = F.pad(guide, (SEARCH_PX,) * 4, value=_FAR)[:, top : top + height + 2 * SEARCH_PX]
    measure = _measure_reference if use_reference() or torch.compiler.is_exporting() else _measure
    distances = torch.cat([x.flatten(1) for x in measure(here, around)])  # (candidates, places)
    distances[NUM_CANDIDATES // 2] = -1.0  # itself, even where all are equal: every pixel gets an estimate
    values, nearest = distances.topk(count, dim=0, largest=False, sorted=False)  # (count, places)
    nearest = torch.where(values < _FAR, nearest, NUM_CANDIDATES // 2)  # if there are too few, as beside NaN
    frames = nearest // _SIDE**2 - SEARCH_FRAMES
    down = nearest // _SIDE % _SIDE - SEARCH_PX
    right = nearest % _SIDE - SEARCH_PX
    frame, row, column = (torch.arange(n, device=guide.device) for n in (T, H, W))
    corners = (frame[:, None, None] * H + row[top : top + height : PATCH_PX, None]) * W
    corners = corners + column[::PATCH_PX]  # (T, rows, columns)
    corners = corners.flatten() + (frames * H + down) * W + right
    return corners.T


def _measure(here: Tensor, around: Tensor) -> Iterator[Tensor]:
    """Yield the distances to all candidates in each neighbouring frame, (candidates, T, rows, columns).

    Args:
        here: Frames, (T, h, W).
        around: These frames with ``SEARCH_PX`` more on every side.
    """
    T, height, width = here.shape
    rows, columns = height // PATCH_PX, width // PATCH_PX
    for dt in range(-SEARCH_FRAMES, SEARCH_FRAMES + 1):
        first, last = max(-dt, 0), min(T - dt, T)  # frames that have this neighbour
        distances = here.new_full((_SIDE**2, T, rows, columns), _FAR**2)
        for n, (dy, dx) in enumerate(product(range(_SIDE), repeat=2) if first < last else ()):
            there = around[first + dt : last + dt, dy : dy + height, dx : dx + width]
            difference = (here[first:last] - there).square_()
            distances[n, first:last] = F.avg_pool2d(difference[:, None], PATCH_PX)[:, 0]
        yield distances


def _measure_reference(here: Tensor, around: Tensor) -> Iterator[Tensor]:
    """Yield what ``_measure`` does, all shifts of a neighbouring frame at once."""
    T, height, width = here.shape
    for dt in range(-SEARCH_FRAMES, SEARCH_FRAMES + 1):
        frames = torch.arange(T, device=here.device)
        there = around[(frames + dt).clamp(0, T - 1)]
        exists = ((frames + dt >= 0) & (frames + dt < T)).view(1, T, 1, 1)
        shifted = F.unfold(there[:, None], (height, width)).view(T, height, width, _SIDE**2).movedim(-1, 1)
        pooled = F.avg_pool2d((here[:, None] - shifted).square(), PATCH_PX)  # (T, shifts, rows, columns)
        yield torch.where(exists, pooled.transpose(0, 1), torch.full_like(pooled[:1, :1], _FAR**2))
