"""Training losses."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def charbonnier(output: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + epsilon^2): an L1 loss that is smooth at zero."""
    return ((output.float() - target) ** 2 + epsilon**2).sqrt().mean()


def end_point_error(flow: Tensor, target: Tensor) -> Tensor:
    """Return the length of the flow error per pixel: (N, 2, H, W) twice -> (N, H, W), in pixels."""
    return ((flow.float() - target) ** 2).sum(dim=1).add(1e-6).sqrt()


def shrink_flow(flow: Tensor, level: int) -> Tensor:
    """Average a flow (N, 2, H, W) down to the grid of a level, 1/2^level, in pixels of that level."""
    return flow if level == 0 else F.avg_pool2d(flow, 2**level) / 2**level


def flow_loss(levels: Sequence[Tensor], target: Tensor, cap_px: float = 16.0) -> Tensor:
    """Supervise a flow pyramid with the exact flow at full resolution.

    Args:
        levels: Level i is (N, 2, H/2^i, W/2^i).
        target: (N, 2, H, W), pixels. What moves out of the image is left out.
        cap_px: What moves further along x or y is left out as well.

    Returns:
        Mean end-point error over the levels, each in full-resolution pixels.
    """
    H, W = target.shape[-2:]
    rows = torch.arange(H, device=target.device)[:, None] + target[:, 1]
    columns = torch.arange(W, device=target.device) + target[:, 0]
    seen = (rows >= 0) & (rows <= H - 1) & (columns >= 0) & (columns <= W - 1) & (target.abs().amax(dim=1) < cap_px)
    seen = seen.float()[:, None]
    total = target.new_zeros(())
    for i, flow in enumerate(levels):
        weight = F.avg_pool2d(seen, 2**i)[:, 0]
        error = end_point_error(flow, shrink_flow(target, i)) * 2**i
        total = total + (error * weight).sum() / weight.sum().clamp(min=1.0)
    return total / len(levels)
