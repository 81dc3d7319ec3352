"""Flicker metric: the change of a clip along its exact motion, which is known for moving photos."""

import torch
from torch import Tensor

from vrt_core.network.flow import backwarp


def flicker_255(clip: Tensor, to_next: Tensor) -> float:
    """Return the mean absolute change of a point from one frame to the next, in 8-bit steps.

    Args:
        clip: (T, 3, H, W) in [0, 1].
        to_next: Exact flow of frame t to t+1, (T-1, 2, H, W), pixels. Points that leave the frame are not counted.
    """
    H, W = clip.shape[-2:]
    rows = torch.arange(H)[:, None] + to_next[:, 1]
    columns = torch.arange(W) + to_next[:, 0]
    inside = (rows >= 0) & (rows <= H - 1) & (columns >= 0) & (columns <= W - 1)  # (T-1, H, W)
    change = (backwarp(clip[1:], to_next, padding="border") - clip[:-1]).abs().mean(dim=1)  # (T-1, H, W)
    return float(255 * (change * inside).sum() / inside.sum().clamp(min=1))
