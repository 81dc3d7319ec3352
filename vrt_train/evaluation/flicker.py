"""Temporal consistency: how much a picture changes along its own motion, which is known for moving photos."""

import torch
from torch import Tensor

from ..training.flow_pretraining import backwarp


def flicker_255(clip: Tensor, to_next: Tensor) -> float:
    """Return the mean change of what a pixel shows from one frame to the next, in 8-bit steps.

    Args:
        clip: (T, 3, H, W) in [0, 1].
        to_next: Exact flow of frame t to t+1, (T-1, 2, H, W), pixels. What leaves the picture is not counted.
    """
    H, W = clip.shape[-2:]
    rows = torch.arange(H)[:, None] + to_next[:, 1]
    columns = torch.arange(W) + to_next[:, 0]
    seen = (rows >= 0) & (rows <= H - 1) & (columns >= 0) & (columns <= W - 1)
    change = (backwarp(clip[1:], to_next) - clip[:-1]).abs().mean(dim=1)
    return float(255 * (change * seen).sum() / seen.sum().clamp(min=1))
