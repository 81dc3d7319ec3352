"""Frames warped to the moment in between, for interpolation networks that use optical flow; not part of the paper.

The flow is found on the grid of the missing frame itself: both middle frames are warped towards it, each by half of the
displacement found so far, and what still differs is added. Motion is taken to be even over the frames that are read.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..flow import SpyNet, backwarp

_WINDOW_PX = 9
_TINY = 1e-12


def warp_to_middle(spynet: SpyNet, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Warp an even number of frames to the moment in the middle of them.

    Args:
        spynet: Finds the displacement.
        frames: (N, T, C, H, W) float32, RGB in [0, 1].

    Returns:
        The warped frames, each followed by the frame itself, (N, T, 2*C, H, W); a first guess at the frame in the
        middle, (N, C, H, W); and the displacement between the frames beside it, on its grid, (N, 2, H, W) in pixels.
    """
    N, T = frames.shape[:2]
    before, after = T // 2 - 1, T // 2
    displacement = spynet.between(frames[:, before], frames[:, after])
    times = torch.arange(T, device=frames.device) - (T - 1) / 2  # in frames, 0 in the middle
    flows = displacement[:, None] * times.view(1, T, 1, 1, 1)
    warped = backwarp(frames.flatten(0, 1), flows.flatten(0, 1), "border").unflatten(0, (N, T))
    guess = _mean_of_alike(warped[:, before], warped[:, after], frames[:, before], frames[:, after])
    return torch.cat((warped, frames), dim=2), guess, displacement


def _mean_of_alike(warped_a: Tensor, warped_b: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Mean of two warped frames where warping has made them alike, of the frames themselves where it has not."""
    moved, still = _difference(warped_a, warped_b).square(), _difference(a, b).square()
    trust = still / (moved + still + _TINY)
    return trust * (warped_a + warped_b) / 2 + (1 - trust) * (a + b) / 2


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of frames (N, C, H, W) around each pixel, (N, 1, H, W)."""
    error = (a - b).square().mean(dim=1, keepdim=True)
    return F.avg_pool2d(F.pad(error, (_WINDOW_PX // 2,) * 4, mode="replicate"), _WINDOW_PX, 1)
