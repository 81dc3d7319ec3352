"""Mirror padding to the sizes that a network takes."""

from __future__ import annotations

import torch
from torch import Tensor


def padded_size(size_px: int, multiple_px: int, min_px: int) -> int:
    """Return the smallest multiple of ``multiple_px`` that is at least ``size_px``, or ``min_px`` if that is more."""
    return max(-(-size_px // multiple_px) * multiple_px, min_px)


def mirror_pad(x: Tensor, dim: int, size: int) -> Tensor:
    """Extend ``x`` to ``size`` at the end of ``dim`` by reflection with the edge repeated, as often as needed."""
    n = x.shape[dim]
    if size == n:
        return x
    index = torch.arange(size, device=x.device) % (2 * n)
    return x.index_select(dim, torch.minimum(index, 2 * n - 1 - index))
