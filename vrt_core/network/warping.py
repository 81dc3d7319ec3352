"""Parallel warping: every frame's neighbours aligned to it, all frames and both directions at once (section 3.3).

The deformable convolution (Zhu et al., arXiv:1811.11168) is written with torch operations alone: one bilinear sampling
of all taps, one product with the modulation, one matrix product.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .flow import backwarp, flow_targets, sample
from .ops.chunking import add_to, items_at_a_time, multiply_by

_TAPS = 9  # 3 x 3


def nearest4(x: Tensor, flow: Tensor) -> Tensor:
    """Return the four pixels around the point that ``flow`` leads to, unblended, which loses no sharpness.

    Args:
        x: Frames, (N, C, H, W).
        flow: (N, 2, H, W) float32, pixels, channels (x, y).

    Returns:
        (N, 4*C, H, W): the pixels at (floor x, floor y), (floor x, ceil y), (ceil x, floor y), (ceil x, ceil y); zeros
        outside the image.
    """
    C, H, W = x.shape[-3:]
    x_px, y_px = flow_targets(flow)
    pixels = x.flatten(2)
    found = []
    for column in (x_px.floor(), x_px.ceil()):
        for row in (y_px.floor(), y_px.ceil()):
            inside = (column >= 0) & (column <= W - 1) & (row >= 0) & (row <= H - 1)
            index = row.long().clamp(0, H - 1) * W + column.long().clamp(0, W - 1)
            nearest = pixels.gather(2, index.flatten(1)[:, None].expand(-1, C, -1)).unflatten(2, (H, W))
            found.append(nearest * inside[:, None].to(x.dtype))
    return torch.cat(found, dim=1)


def warp_neighbours(clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
    """Return each frame's next and previous frame warped to it by ``nearest4``, (N, T, 8*C, H, W).

    Args:
        clip: (N, T, C, H, W).
        backward: flow(t, t+1), (N, T-1, 2, H, W).
        forward: flow(t+1, t), (N, T-1, 2, H, W).
    """
    N, T = clip.shape[:2]
    none = clip.new_zeros(N, 1, 4 * clip.shape[2], *clip.shape[3:])
    following = nearest4(clip[:, 1:].flatten(0, 1), backward.flatten(0, 1)).unflatten(0, (N, T - 1))
    previous = nearest4(clip[:, :-1].flatten(0, 1), forward.flatten(0, 1)).unflatten(0, (N, T - 1))
    return torch.cat((torch.cat((following, none), dim=1), torch.cat((none, previous), dim=1)), dim=2)


def deformable_convolution(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor, groups: int, top: int = 0
) -> Tensor:
    """Modulated deformable convolution, 3x3, stride 1, zeros outside, for some rows of the output.

    Args:
        x: (B, C_in, H_in, W).
        offset: Displacement of each tap, (B, G * 9 * 2, H, W), pixels, (y, x) for each group and tap.
        modulation: Factor of each tap, (B, G * 9, H, W).
        weight: (C_out, C_in / groups, 3, 3).
        bias: (C_out,).
        groups: Groups of the convolution.
        top: The row of ``x`` that the first row of ``offset`` belongs to.

    Returns:
        (B, C_out, H, W).
    """
    B, C_in, H_in, W = x.shape
    H = offset.shape[2]
    G = modulation.shape[1] // _TAPS
    offset = offset.float().view(B * G, _TAPS, 2, H, W)
    tap = torch.arange(_TAPS, device=x.device)[:, None, None]
    rows = torch.arange(top, top + H, device=x.device)[:, None]
    columns = torch.arange(W, device=x.device)
    y_px = offset[:, :, 0] + (tap // 3 - 1 + rows)  # (B*G, 9, H, W)
    x_px = offset[:, :, 1] + (tap % 3 - 1 + columns)
    taps = sample(x.reshape(B * G, C_in // G, H_in, W), x_px.flatten(1, 2), y_px.flatten(1, 2))
    taps = multiply_by(taps.view(B, G, C_in // G, _TAPS, H * W), modulation.view(B, G, 1, _TAPS, H * W))
    taps = taps.view(B, groups, C_in // groups * _TAPS, H * W)
    out = weight.view(groups, -1, C_in // groups * _TAPS) @ taps  # (B, groups, C_out / groups, H*W)
    return add_to(out.view(B, -1, H, W), bias.view(-1, 1, 1))


class FlowGuidedDeformableConv(nn.Module):
    """Deformable convolution whose offsets are a flow plus a learned residual; upstream ``DCNv2PackFlowGuided``."""

    def __init__(self, dim: int, hops: int, groups: int, max_residual_px: float) -> None:
        super().__init__()
        self.hops, self.groups, self.max_residual_px = hops, groups, max_residual_px
        # Quirk: the weight reads dim channels while hops * dim come in, hence a convolution in as many groups as hops
        self.weight = nn.Parameter(torch.empty(dim, dim, 3, 3))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.steer_channels = 3 * _TAPS * groups
        layers: list[nn.Module] = []
        for c_in in ((hops + 1) * dim + 2 * hops, dim, dim):
            layers += [nn.Conv2d(c_in, dim, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        last = nn.Conv2d(dim, self.steer_channels, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # alignment starts as plain flow
        self.conv_offset = nn.Sequential(*layers, last)

    def forward(self, frame: Tensor, neighbours: Tensor, flows: Tensor) -> Tensor:
        """Align the neighbours of a frame to it.

        Args:
            frame: (B, C, H, W).
            neighbours: The frames 1, 2, ... away in one direction, (B, hops * C, H, W).
            flows: Flow from the frame to each, (B, hops, 2, H, W) float32, pixels, (x, y).

        Returns:
            The aligned feature, (B, C, H, W).
        """
        B, C, H, W = frame.shape
        seen = backwarp(neighbours.view(B * self.hops, C, H, W), flows.flatten(0, 1)).view_as(neighbours)
        seen = torch.cat((seen, frame, flows.flatten(1, 2).to(frame.dtype)), dim=1)
        seen = seen.contiguous(memory_format=torch.channels_last)  # the order in which convolutions are quickest
        steer = self.conv_offset(seen)
        del seen  # as large as the rest of this, and done with
        out = []
        step = items_at_a_time(2 * _TAPS * neighbours[:, :, 0].numel() * neighbours.element_size(), frame.device)
        for top in range(0, H, step):
            rows = steer[:, :, top : top + step].contiguous()
            residual, modulation = rows.split((2 * _TAPS * self.groups, _TAPS * self.groups), dim=1)
            # an equal run of the offset channels follows the flow to each neighbour
            residual = self.max_residual_px * torch.tanh(residual.float()).view(B, self.hops, -1, 2, *rows.shape[2:])
            offset = add_to(residual, flows[:, :, :, top : top + step].flip(2)[:, :, None]).flatten(1, 3)
            sharing = self.weight, self.bias, self.hops
            out.append(deformable_convolution(neighbours, offset, modulation.sigmoid(), *sharing, top))
        return torch.cat(out, dim=2)


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

    def gather(source: Tensor, first: int, count: int) -> Tensor:
        """Entries [first, first + count) on the frame axis, zeros where there are none."""
        part = source[:, max(first, 0) : max(min(first + count, source.shape[1]), 0)]
        front = min(max(-first, 0), count)
        return F.pad(part, (0, 0, 0, 0, 0, 0, front, count - front - part.shape[1]))

    hops = range(1, align.hops + 1)
    last = min(stop, T - 1)  # the last frame has no next one, the first no previous one
    first = max(start, 1)
    ranges = ((start, last - start, 1), (first, stop - first, -1))
    frames, neighbours, flows = [], [], []
    for begin, count, step in ranges:
        if count > 0:
            frames.append(x[:, begin : begin + count])
            neighbours.append(torch.cat([gather(x, begin + step * k, count) for k in hops], dim=2))
            by_hop = backward if step > 0 else forward
            at = [begin if step > 0 else begin - k for k in hops]
            flows.append(torch.stack([gather(f, a, count) for f, a in zip(by_hop, at, strict=True)], dim=2))
    none = x.new_zeros(N, stop - start, C, H, W)
    if not frames:
        return torch.cat((none, none), dim=2)
    counts = [f.shape[1] for f in frames]
    joined = [torch.cat(parts, dim=1).flatten(0, 1) for parts in (frames, neighbours, flows)]
    del frames, neighbours, flows
    out = align(*joined)
    del joined
    parts = iter(out.unflatten(0, (N, sum(counts))).split(counts, dim=1))
    aligned = [gather(next(parts), start - begin, stop - start) if count > 0 else none for begin, count, _ in ranges]
    return torch.cat(aligned, dim=2)
