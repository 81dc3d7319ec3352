"""Mirror padding of frames to the sizes that a network takes."""

from __future__ import annotations

from torch import Tensor

from ..network import mirror_pad, padded_size

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
