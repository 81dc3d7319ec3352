"""SpyNet (Ranjan & Black, arXiv:1611.00850): optical flow between two frames, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .flow import FlowPyramid, backwarp
from .padding import padded_size

NUM_FLOW_LEVELS = 4
_NUM_LEVELS = 6
_MULTIPLE_PX = 2 ** (_NUM_LEVELS - 1)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class _SpyNetLevel(nn.Module):
    """Residual flow at one level, from [reference, warped neighbour, current flow]."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in zip((8, *channels), (*channels, 2), strict=True):
            layers += [nn.Conv2d(c_in, c_out, 7, padding=3), nn.ReLU(inplace=True)]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 8, H, W) to (N, 2, H, W)."""
        for layer in self.basic_module:
            if isinstance(layer, nn.Conv2d):  # float32 in half precision networks too: flows are positions
                assert layer.bias is not None
                x = F.conv2d(x, layer.weight.float(), layer.bias.float(), padding=3)
            else:
                x = layer(x)
        return x


class SpyNet(nn.Module):
    """Flow between two frames over six levels, each refining the enlarged flow of the level before; in float32."""

    def __init__(self, channels: Sequence[int] = (32, 64, 32, 16)) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_SpyNetLevel(channels) for _ in range(_NUM_LEVELS))

    def forward(self, a: Tensor, b: Tensor) -> FlowPyramid:
        """Return flow_a_to_b at levels 0-3.

        Args:
            a: Frames whose grid the flow lies on, (N, 3, H, W) in [0, 1].
            b: Frames it points into, same shape.

        Returns:
            Four tensors, level i (N, 2, H // 2^i, W // 2^i) float32.
        """
        return self._estimate(a, b, NUM_FLOW_LEVELS, midpoint=False)

    def midpoint_flow(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the displacement d from a to b on the grid of the midpoint between them.

        Args:
            a: (N, 3, H, W) in [0, 1].
            b: Same shape.

        Returns:
            (N, 2, H, W) float32, pixels: position p of the midpoint is p - d/2 in a and p + d/2 in b.
        """
        return self._estimate(a, b, 1, midpoint=True)[0]

    def levels(self, a: Tensor, b: Tensor, *, midpoint: bool = False) -> list[Tensor]:
        """Return flow_a_to_b at all six levels, coarsest first; H and W of (N, 3, H, W) must be multiples of 32.

        With ``midpoint`` the flow lies on the grid of the midpoint between a and b: both frames are warped to it.
        """
        pyramid = [(normalise(a), normalise(b))]
        for _ in range(_NUM_LEVELS - 1):
            finer_a, finer_b = pyramid[-1]
            pyramid.append((F.avg_pool2d(finer_a, 2), F.avg_pool2d(finer_b, 2)))
        flows: list[Tensor] = []
        for level, (ref, supp) in zip(self.basic_module, reversed(pyramid), strict=True):
            flow = _enlarge(flows[-1], ref.shape[-2:]) if flows else torch.zeros_like(ref[:, :2])
            pair = (
                (backwarp(ref, -flow / 2, "border"), backwarp(supp, flow / 2, "border"))
                if midpoint
                else (ref, backwarp(supp, flow, "border"))
            )
            flows.append(flow + level(torch.cat((*pair, flow), dim=1)))
        return flows

    def _estimate(self, a: Tensor, b: Tensor, num_levels: int, *, midpoint: bool) -> FlowPyramid:
        """Resize frames to multiples of 32 px, and the finest levels of the flow back; finest first."""
        H, W = a.shape[-2:]
        H32, W32 = (padded_size(size, _MULTIPLE_PX, _MULTIPLE_PX) for size in (H, W))
        a, b = (F.interpolate(x.float(), size=(H32, W32), mode="bilinear", align_corners=False) for x in (a, b))
        flows = self.levels(a, b, midpoint=midpoint)
        return tuple(_resize_flow(flows[-1 - i], (H >> i, W >> i), (H32 >> i, W32 >> i)) for i in range(num_levels))


def normalise(x: Tensor) -> Tensor:
    """Shift and scale RGB frames (N, 3, H, W) in [0, 1] by the statistics of ImageNet, as SpyNet expects."""
    return torch.stack([(x[:, c] - mean) / std for c, (mean, std) in enumerate(zip(_MEAN, _STD, strict=True))], dim=1)


def _enlarge(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Double a flow's resolution and vectors; an odd ``size`` is filled by replication of the edge."""
    flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
    H, W = flow.shape[-2:]
    return F.pad(flow, (0, size[1] - W, 0, size[0] - H), mode="replicate") if tuple(size) != (H, W) else flow


def _resize_flow(flow: Tensor, size: tuple[int, int], size32: tuple[int, int]) -> Tensor:
    """Resize a flow from the grid ``size32`` to ``size``, (H, W) each, and scale its vectors likewise."""
    flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
    return torch.stack((flow[:, 0] * (size[1] / size32[1]), flow[:, 1] * (size[0] / size32[0])), dim=1)
