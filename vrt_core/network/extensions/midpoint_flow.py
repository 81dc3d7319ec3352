"""Flow to the midpoint between two frames, for interpolation networks; not part of the paper.

SpyNet estimates the displacement on the grid of the missing frame: each level warps both middle frames to the midpoint
by half of the current displacement and adds a residual. Motion is assumed to be constant over the input frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..flow import backwarp
from ..spynet import SpyNet

_WINDOW_PX = 9
_TINY = 1e-12


def warp_to_midpoint(spynet: SpyNet, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Warp an even number of frames to the midpoint of the clip.

    Args:
        spynet: Estimates the displacement.
        frames: (N, T, C, H, W) float32, RGB in [0, 1].

    Returns:
        The warped frames, each followed by the frame itself, (N, T, 2*C, H, W); a first estimate of the frame at the
        midpoint, (N, C, H, W); and the displacement between the two frames beside it, on its grid, (N, 2, H, W) in
        pixels.
    """
    N, T = frames.shape[:2]
    before, after = T // 2 - 1, T // 2
    displacement = spynet.midpoint_flow(frames[:, before], frames[:, after])  # (N, 2, H, W)
    times = torch.arange(T, device=frames.device) - (T - 1) / 2  # in frames, 0 at the midpoint
    flows = displacement[:, None] * times.view(1, T, 1, 1, 1)  # (N, T, 2, H, W)
    warped = backwarp(frames.flatten(0, 1), flows.flatten(0, 1), "border").unflatten(0, (N, T))
    estimate = _blend_by_similarity(warped[:, before], warped[:, after], frames[:, before], frames[:, after])
    return torch.cat((warped, frames), dim=2), estimate, displacement


def _blend_by_similarity(warped_a: Tensor, warped_b: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Blend the means of the warped frames and of the frames, each weighted by the similarity of its two inputs."""
    moving, static = _difference(warped_a, warped_b).square(), _difference(a, b).square()
    confidence = static / (moving + static + _TINY)  # (N, 1, H, W), in the warped frames
    return confidence * (warped_a + warped_b) / 2 + (1 - confidence) * (a + b) / 2


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Return the local mean squared difference of frames (N, C, H, W), (N, 1, H, W)."""
    error = (a - b).square().mean(dim=1, keepdim=True)
    return F.avg_pool2d(F.pad(error, (_WINDOW_PX // 2,) * 4, mode="replicate"), _WINDOW_PX, 1)
