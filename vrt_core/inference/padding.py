"""Mirror padding of frames to the sizes that a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

FrameSize = tuple[int, int]
"""(height, width) in pixels."""


def padded_frame_size(height: int, width: int, multiple_px: int, min_px: int) -> FrameSize:
    """Return the size of padded frames: multiples of ``multiple_px``, at least ``min_px``."""
    return padded_size(height, multiple_px, min_px), padded_size(width, multiple_px, min_px)


def pad_frames(frames: Tensor, multiple_px: int, min_px: int) -> Tensor:
    """Extend frames (..., H, W) at the bottom and right by mirroring, the edge pixel repeated."""
    for dim in (-2, -1):
        frames = mirror_pad(frames, dim, padded_size(frames.shape[dim], multiple_px, min_px))
    return frames


def padded_size(size_px: int, multiple_px: int, min_px: int) -> int:
    """Return the smallest allowed length of an axis that holds ``size_px``."""
    return max(-(-size_px // multiple_px) * multiple_px, min_px)


def mirror_pad(x: Tensor, dim: int, size: int) -> Tensor:
    """Extend ``x`` at the end of ``dim`` to ``size`` by mirroring, the edge repeated, as often as needed."""
    n = x.shape[dim]
    if size == n:
        return x
    index = torch.arange(size, device=x.device) % (2 * n)
    return x.index_select(dim, torch.minimum(index, 2 * n - 1 - index))
