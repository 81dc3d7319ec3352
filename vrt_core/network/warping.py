"""Parallel warping (paper, section 3.3): alignment of every frame's neighbours to it, all frames at once."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import ops
from .flow import backwarp, flow_targets
from .ops.chunking import NUM_TAPS


def nearest4(x: Tensor, flow: Tensor) -> Tensor:
    """Return the four pixels around the point that ``flow`` points to. They are not blended, which keeps sharpness.

    Args:
        x: Frames, (N, C, H, W).
        flow: (N, 2, H, W) float32, pixels, channels (x, y).

    Returns:
        (N, 4*C, H, W): the pixels at (floor x, floor y), (floor x, ceil y), (ceil x, floor y), (ceil x, ceil y); zeros
        outside the image.
    """
    C, H, W = x.shape[-3:]
    x_px, y_px = flow_targets(flow)
    pixels = x.flatten(2)  # (N, C, H * W)
    warped = []
    for column in (x_px.floor(), x_px.ceil()):
        for row in (y_px.floor(), y_px.ceil()):
            inside = (column >= 0) & (column <= W - 1) & (row >= 0) & (row <= H - 1)
            index = row.long().clamp(0, H - 1) * W + column.long().clamp(0, W - 1)
            nearest = pixels.gather(2, index.flatten(1)[:, None].expand(-1, C, -1)).unflatten(2, (H, W))
            warped.append(nearest * inside[:, None].to(x.dtype))  # (N, C, H, W)
    return torch.cat(warped, dim=1)


def warp_neighbours(clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
    """Return each frame's next and previous frame warped to it by ``nearest4``, (N, T, 8*C, H, W).

    Args:
        clip: (N, T, C, H, W).
        backward: flow(t, t+1), (N, T-1, 2, H, W).
        forward: flow(t+1, t), (N, T-1, 2, H, W).
    """
    N, T = clip.shape[:2]
    missing = clip.new_zeros(N, 1, 4 * clip.shape[2], *clip.shape[3:])
    following = nearest4(clip[:, 1:].flatten(0, 1), backward.flatten(0, 1)).unflatten(0, (N, T - 1))
    previous = nearest4(clip[:, :-1].flatten(0, 1), forward.flatten(0, 1)).unflatten(0, (N, T - 1))
    return torch.cat((torch.cat((following, missing), dim=1), torch.cat((missing, previous), dim=1)), dim=2)


class FlowGuidedDeformableConv(nn.Module):
    """Deformable convolution whose offsets are a flow plus a learned residual; upstream ``DCNv2PackFlowGuided``."""

    def __init__(self, dim: int, num_hops: int, groups: int, max_residual_px: float) -> None:
        super().__init__()
        self.num_hops, self.groups, self.max_residual_px = num_hops, groups, max_residual_px
        # Quirk: the weight reads dim channels of num_hops * dim, hence a convolution in num_hops groups
        self.weight = nn.Parameter(torch.empty(dim, dim, 3, 3))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        layers: list[nn.Module] = []
        for c_in in ((num_hops + 1) * dim + 2 * num_hops, dim, dim):
            layers += [nn.Conv2d(c_in, dim, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        last = nn.Conv2d(dim, 3 * NUM_TAPS * groups, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # alignment starts as plain flow
        self.conv_offset = nn.Sequential(*layers, last)

    def forward(self, frame: Tensor, neighbours: Tensor, flows: Tensor) -> Tensor:
        """Align the neighbours of a frame to it.

        Args:
            frame: (B, C, H, W).
            neighbours: The frames 1, 2, ... away in one direction, (B, num_hops * C, H, W).
            flows: Flow from the frame to each, (B, num_hops, 2, H, W) float32, pixels, (x, y).

        Returns:
            The aligned feature, (B, C, H, W).
        """
        B, C, H, W = frame.shape
        warped = backwarp(neighbours.view(B * self.num_hops, C, H, W), flows.flatten(0, 1)).view_as(neighbours)
        conv_input = torch.cat((warped, frame, flows.flatten(1, 2).to(frame.dtype)), dim=1)
        del warped
        conv_input = conv_input.contiguous(memory_format=torch.channels_last)  # convolutions are fastest in this layout
        raw = self.conv_offset(conv_input)  # (B, 27 * groups, H, W)
        del conv_input  # frees half of this function's peak memory
        offsets_and_mask = partial(self.offsets_and_mask, flows=flows)
        return ops.deform_conv(neighbours, raw, offsets_and_mask, self.weight, self.bias, self.num_hops)

    def offsets_and_mask(self, raw: Tensor, rows: slice, *, flows: Tensor) -> tuple[Tensor, Tensor]:
        """Return offset = max_residual * tanh(residual) + flow, and mask = sigmoid, for some rows of the map.

        Args:
            raw: Rows of the output of ``conv_offset``, (B, 27 * groups, H', W).
            rows: Their place in the map.
            flows: (B, num_hops, 2, H, W) float32, pixels, (x, y).

        Returns:
            Offsets, (B, 18 * groups, H', W) float32 in pixels, (y, x) for each group and tap; mask,
            (B, 9 * groups, H', W).
        """
        residual, mask = raw.split((2 * NUM_TAPS * self.groups, NUM_TAPS * self.groups), dim=1)
        # the offset channels fall into equal runs, one for the flow to each neighbour
        residual = residual.float().view(
            raw.shape[0], self.num_hops, -1, 2, *raw.shape[2:]
        )  # (B, hops, taps, 2, H', W)
        offset = self.max_residual_px * torch.tanh(residual)
        offset = ops.add_(offset, flows[:, :, :, rows].flip(2)[:, :, None])  # (y, x)
        return offset.flatten(1, 3), mask.sigmoid()


def align_neighbours(
    align: FlowGuidedDeformableConv,
    x: Tensor,
    backward: list[Tensor],
    forward: list[Tensor],
    start: int,
    stop: int,
) -> Tensor:
    """Return the features aligned to frames [start, stop) from their next and from their previous frames.

    Both directions go through one call. A neighbour beyond the clip is zeros with zero flow; a frame without any
    neighbour in a direction gets zeros.

    Args:
        align: The convolution.
        x: All frames, (N, T, C, H, W).
        backward: Flows to the next 1, 2, ... frames as ``flows_by_hop`` gives them.
        forward: Flows to the previous 1, 2, ... frames.
        start: First frame.
        stop: End of the range of frames.

    Returns:
        (N, stop - start, 2*C, H, W): from the next, then from the previous frames.
    """
    N, T, C, H, W = x.shape
    hops = range(1, align.num_hops + 1)
    last = min(stop, T - 1)  # the last frame has no next one, the first no previous one
    first = max(start, 1)
    ranges = ((start, last - start, 1), (first, stop - first, -1))
    frames, neighbours, flows = [], [], []
    for begin, count, step in ranges:
        if count > 0:
            frames.append(x[:, begin : begin + count])
            neighbours.append(torch.cat([_frame_range(x, begin + step * k, count) for k in hops], dim=2))
            by_hop = backward if step > 0 else forward
            at = [begin if step > 0 else begin - k for k in hops]
            flows.append(torch.stack([_frame_range(f, a, count) for f, a in zip(by_hop, at, strict=True)], dim=2))
    missing = x.new_zeros(N, stop - start, C, H, W)
    if not frames:
        return torch.cat((missing, missing), dim=2)
    counts = [f.shape[1] for f in frames]
    joined = [torch.cat(parts, dim=1).flatten(0, 1) for parts in (frames, neighbours, flows)]  # (B, ...)
    del frames, neighbours, flows
    out = align(*joined)  # (B, C, H, W)
    del joined
    parts = iter(out.unflatten(0, (N, sum(counts))).split(counts, dim=1))  # (N, count, C, H, W)
    aligned = [
        _frame_range(next(parts), start - begin, stop - start) if count > 0 else missing for begin, count, _ in ranges
    ]
    return torch.cat(aligned, dim=2)


def _frame_range(x: Tensor, first: int, count: int) -> Tensor:
    """Return frames [first, first + count) of (N, T, ...), with zeros for those that do not exist."""
    part = x[:, max(first, 0) : max(min(first + count, x.shape[1]), 0)]
    front = min(max(-first, 0), count)
    return F.pad(part, (0, 0, 0, 0, 0, 0, front, count - front - part.shape[1]))
