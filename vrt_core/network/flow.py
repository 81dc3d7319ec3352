"""Optical flow: sampling along a flow, and composition of flows over several frames.

``flow_t_to_s`` lies on the grid of frame t and points into frame s, in pixels of its own level, channels (x, y). Level
i is the grid of size 1/2^i. *Backward* flows point to the next frame, *forward* flows to the previous one, as in the
paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

FlowPyramid = tuple[Tensor, ...]
"""Flow of one pair of frames at levels 0-3: each (..., 2, H / 2^i, W / 2^i), float32."""
Flows = tuple[FlowPyramid, FlowPyramid]
"""Backward and forward flows between neighbours: four levels each, level i (N, T-1, 2, H / 2^i, W / 2^i), float32."""

BILINEAR, BICUBIC, _PADDINGS = 0, 2, ("zeros", "border")  # as torch.grid_sampler_2d numbers them


def sample(x: Tensor, x_px: Tensor, y_px: Tensor, padding: str = "zeros", mode: int = BILINEAR) -> Tensor:
    """Sample ``x`` at positions in pixels.

    Convention: pixel centres are integers (align_corners=True).

    Args:
        x: (N, C, H, W).
        x_px: Columns, (N, H', W') float32.
        y_px: Rows, (N, H', W') float32.
        padding: Values outside: "zeros", or "border" for the nearest pixel.
        mode: ``BILINEAR`` or ``BICUBIC``.

    Returns:
        (N, C, H', W') in the dtype of ``x``; sampling runs in float32.
    """
    H, W = x.shape[-2:]
    grid = torch.stack((2 * x_px / max(W - 1, 1) - 1, 2 * y_px / max(H - 1, 1) - 1), dim=-1)  # (N, H', W', 2)
    # the operator behind F.grid_sample, which on CUDA would choose cuDNN: slower, and unknown to FakeTensorMode
    return torch.grid_sampler_2d(x.float(), grid, mode, _PADDINGS.index(padding), True).to(x.dtype)


def flow_targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns and rows (each (N, H, W), pixels) that ``flow`` (N, 2, H, W) points to."""
    H, W = flow.shape[-2:]
    rows = torch.arange(H, device=flow.device, dtype=flow.dtype)[:, None]
    columns = torch.arange(W, device=flow.device, dtype=flow.dtype)
    return flow[:, 0] + columns, flow[:, 1] + rows


def backwarp(x: Tensor, flow: Tensor, padding: str = "zeros") -> Tensor:
    """Warp ``x`` backward along ``flow``, which aligns it to the frame that the flow belongs to.

    Convention: ``backwarp(x_s, flow_t_to_s)`` looks like ``x_t``.

    Args:
        x: Features of frame s, (N, C, H, W).
        flow: (N, 2, H, W) float32, in pixels of this level.
        padding: Values outside: "zeros" or "border".

    Returns:
        (N, C, H, W) in the dtype of ``x``.
    """
    return sample(x, *flow_targets(flow), padding)


def flows_by_hop(backward: Tensor, forward: Tensor, num_hops: int) -> tuple[list[Tensor], list[Tensor]]:
    """Compose flows over several frames from the flows between neighbours, at one level.

    flow(t, t+2) = f1 + backwarp(f2, f1) with f1 = flow(t, t+1), f2 = flow(t+1, t+2), and so on; forward flows mirror
    that.

    Args:
        backward: flow(t, t+1), (N, T-1, 2, H, W).
        forward: flow(t+1, t), (N, T-1, 2, H, W).
        num_hops: Largest distance in frames: 1, 2 or 3.

    Returns:
        Two lists; entry k-1 holds the flows over k frames, (N, max(T-k, 0), 2, H, W): backward ones by their first
        frame t (0 <= t < T-k), forward ones by t - k of the frame t they start from.
    """
    all_backward, all_forward = [backward], [forward]
    for hop in range(2, num_hops + 1):
        count = max(backward.shape[1] + 1 - hop, 0)
        all_backward.append(_compose(all_backward[-1][:, :count], backward[:, hop - 1 : hop - 1 + count]))
        all_forward.append(_compose(all_forward[-1][:, 1 : 1 + count], forward[:, :count]))
    return all_backward, all_forward


def _compose(first: Tensor, second: Tensor) -> Tensor:
    """Return flow(a, c) from flow(a, b) and flow(b, c), each (N, M, 2, H, W)."""
    N, M = first.shape[:2]
    return first + backwarp(second.flatten(0, 1), first.flatten(0, 1)).unflatten(0, (N, M)) if N * M else first
