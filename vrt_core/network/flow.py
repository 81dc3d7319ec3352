"""Optical flow: SpyNet (Ranjan & Black, arXiv:1611.00850) and flows over several frames.

``flow_t_to_s`` lies on the grid of frame t and points into frame s, in pixels of its own level, channels (x, y). Level
i is the grid of size 1/2^i. *Backward* flows point to the next frame, *forward* flows to the previous one, as in the
paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_FLOW_LEVELS = 4
Pyramid = tuple[Tensor, ...]
"""Flow of the same pair at levels 0-3: each (..., 2, H / 2^i, W / 2^i), float32."""

_NUM_SPYNET_LEVELS = 6
_MULTIPLE_PX = 2 ** (_NUM_SPYNET_LEVELS - 1)
BILINEAR, CUBIC, _PADDINGS = 0, 2, ("zeros", "border")  # as torch.grid_sampler_2d numbers them
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def sample(x: Tensor, x_px: Tensor, y_px: Tensor, padding: str = "zeros", kernel: int = BILINEAR) -> Tensor:
    """Read ``x`` at positions given in pixels.

    Convention: pixel centres are integers (align_corners=True).

    Args:
        x: (N, C, H, W).
        x_px: Columns, (N, H', W') float32.
        y_px: Rows, (N, H', W') float32.
        padding: What lies outside: "zeros", or "border" for the nearest pixel.
        kernel: ``BILINEAR`` or ``CUBIC``.

    Returns:
        (N, C, H', W') in the dtype of ``x``; sampling runs in float32.
    """
    H, W = x.shape[-2:]
    grid = torch.stack((2 * x_px / max(W - 1, 1) - 1, 2 * y_px / max(H - 1, 1) - 1), dim=-1)
    # the operator behind F.grid_sample, which on CUDA would take cuDNN's, slower and unknown to FakeTensorMode
    return torch.grid_sampler_2d(x.float(), grid, kernel, _PADDINGS.index(padding), True).to(x.dtype)


def flow_targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns and rows (each (N, H, W), pixels) where ``flow`` (N, 2, H, W) points."""
    H, W = flow.shape[-2:]
    rows = torch.arange(H, device=flow.device, dtype=flow.dtype)[:, None]
    columns = torch.arange(W, device=flow.device, dtype=flow.dtype)
    return flow[:, 0] + columns, flow[:, 1] + rows


def backwarp(x: Tensor, flow: Tensor, padding: str = "zeros") -> Tensor:
    """Read ``x`` where ``flow`` points, which lines it up with the frame the flow belongs to.

    Convention: ``backwarp(x_s, flow_t_to_s)`` looks like ``x_t``.

    Args:
        x: Features of frame s, (N, C, H, W).
        flow: (N, 2, H, W) float32, in pixels of this level.
        padding: What lies outside: "zeros" or "border".

    Returns:
        (N, C, H, W) in the dtype of ``x``.
    """
    return sample(x, *flow_targets(flow), padding)


class _SpyNetLevel(nn.Module):
    """Residual flow at one level, from [reference, warped neighbour, flow so far]."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in zip((8, *channels), (*channels, 2), strict=True):
            layers += [nn.Conv2d(c_in, c_out, 7, padding=3), nn.ReLU(inplace=True)]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.basic_module:
            if isinstance(layer, nn.Conv2d):  # float32 even in a half precision network: flows steer everything else
                assert layer.bias is not None
                x = F.conv2d(x, layer.weight.float(), layer.bias.float(), padding=3)
            else:
                x = layer(x)
        return x


class SpyNet(nn.Module):
    """Flow between two frames, coarse to fine over six levels; always in float32."""

    def __init__(self, channels: Sequence[int] = (32, 64, 32, 16)) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_SpyNetLevel(channels) for _ in range(_NUM_SPYNET_LEVELS))

    def levels(self, a: Tensor, b: Tensor, *, between: bool = False) -> list[Tensor]:
        """Return flow_a_to_b at all six levels, coarsest first; H and W of (N, 3, H, W) must be multiples of 32.

        With ``between`` it lies on the grid of the moment halfway from a to b: both frames are warped to it.
        """
        pyramid = [(normalise(a), normalise(b))]
        for _ in range(_NUM_SPYNET_LEVELS - 1):
            finer_a, finer_b = pyramid[-1]
            pyramid.append((F.avg_pool2d(finer_a, 2), F.avg_pool2d(finer_b, 2)))
        flows: list[Tensor] = []
        for level, (ref, supp) in zip(self.basic_module, reversed(pyramid), strict=True):
            flow = _enlarge(flows[-1], ref.shape[-2:]) if flows else torch.zeros_like(ref[:, :2])
            seen = (
                (backwarp(ref, -flow / 2, "border"), backwarp(supp, flow / 2, "border"))
                if between
                else (ref, backwarp(supp, flow, "border"))
            )
            flows.append(flow + level(torch.cat((*seen, flow), dim=1)))
        return flows

    def forward(self, a: Tensor, b: Tensor) -> Pyramid:
        """Return flow_a_to_b at levels 0-3.

        Args:
            a: Frames whose grid the flow lies on, (N, 3, H, W) in [0, 1].
            b: Frames it points into, same shape.

        Returns:
            Four tensors, level i (N, 2, H // 2^i, W // 2^i) float32.
        """
        return self._found(a, b, NUM_FLOW_LEVELS, between=False)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the displacement from a to b on the grid of the moment halfway between them.

        Args:
            a: (N, 3, H, W) in [0, 1].
            b: Same shape.

        Returns:
            (N, 2, H, W) float32, pixels: what is at p in the middle is at p - d/2 in a and at p + d/2 in b.
        """
        return self._found(a, b, 1, between=True)[0]

    def _found(self, a: Tensor, b: Tensor, num_levels: int, *, between: bool) -> Pyramid:
        """Run on frames of any size; return the finest levels, finest first."""
        H, W = a.shape[-2:]
        H32, W32 = (-(-size // _MULTIPLE_PX) * _MULTIPLE_PX for size in (H, W))
        a, b = (F.interpolate(x.float(), size=(H32, W32), mode="bilinear", align_corners=False) for x in (a, b))
        found = self.levels(a, b, between=between)
        return tuple(_resize_flow(found[-1 - i], (H >> i, W >> i), (H32 >> i, W32 >> i)) for i in range(num_levels))


def normalise(x: Tensor) -> Tensor:
    """Shift and scale RGB frames (N, 3, H, W) in [0, 1] by the statistics of ImageNet, as SpyNet expects."""
    return torch.stack([(x[:, c] - mean) / std for c, (mean, std) in enumerate(zip(_MEAN, _STD, strict=True))], dim=1)


def _enlarge(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Twice the size and twice the length; an odd target is filled by repeating the edge."""
    flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
    H, W = flow.shape[-2:]
    return F.pad(flow, (0, size[1] - W, 0, size[0] - H), mode="replicate") if tuple(size) != (H, W) else flow


def _resize_flow(flow: Tensor, size: tuple[int, int], size32: tuple[int, int]) -> Tensor:
    flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
    return torch.stack((flow[:, 0] * (size[1] / size32[1]), flow[:, 1] * (size[0] / size32[0])), dim=1)


def flows_by_hop(backward: Tensor, forward: Tensor, hops: int) -> tuple[list[Tensor], list[Tensor]]:
    """Compose flows to frames further away from the flows between neighbours, at one level.

    flow(t, t+2) = f1 + backwarp(f2, f1) with f1 = flow(t, t+1), f2 = flow(t+1, t+2), and so on; forward ones mirror
    that.

    Args:
        backward: flow(t, t+1), (N, T-1, 2, H, W).
        forward: flow(t+1, t), (N, T-1, 2, H, W).
        hops: How many frames apart at the most: 1, 2 or 3.

    Returns:
        Two lists; entry k-1 holds the flows over k frames, (N, max(T-k, 0), 2, H, W): backward ones by their first
        frame t (0 <= t < T-k), forward ones by t - k of the frame t they start from.
    """
    all_backward, all_forward = [backward], [forward]
    for hop in range(2, hops + 1):
        count = max(backward.shape[1] + 1 - hop, 0)
        all_backward.append(_extend(all_backward[-1][:, :count], backward[:, hop - 1 : hop - 1 + count]))
        all_forward.append(_extend(all_forward[-1][:, 1 : 1 + count], forward[:, :count]))
    return all_backward, all_forward


def _extend(first: Tensor, then: Tensor) -> Tensor:
    """flow(a, c) from flow(a, b) and flow(b, c), each (N, M, 2, H, W)."""
    N, M = first.shape[:2]
    return first + backwarp(then.flatten(0, 1), first.flatten(0, 1)).unflatten(0, (N, M)) if N * M else first
