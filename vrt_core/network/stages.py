"""Stages of VRT (paper, figure 2): change of scale, groups of TMSA blocks, parallel warping."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from . import ops
from .config import VRTConfig
from .flow import Flows, flows_by_hop
from .ops import Linear, WindowSize, chunking
from .tmsa import GEGLU, TMSAG, OnBlock
from .warping import FlowGuidedDeformableConv, align_neighbours


class ResidualGroup(nn.Module):
    """x + linear(group(x)), the unit of stage 8; upstream ``RTMSA``."""

    def __init__(self, config: VRTConfig, index: int, window: WindowSize, drop_path: Sequence[float]) -> None:
        super().__init__()
        self.residual_group = TMSAG(config, index, window, mutual=False, drop_path=drop_path)
        self.linear = Linear(config.embed_dims[index], config.embed_dims[index])

    def forward(self, x: Tensor, on_block: OnBlock = None) -> Tensor:
        """Map (N, T, H, W, C) to the same shape."""
        return ops.add_(self.linear(self.residual_group(x, on_block)), x)


class NormLinear(nn.ModuleDict):
    """LayerNorm, then a Linear unless ``dim_out`` is None; keys are the positions in the published Sequential."""

    def __init__(self, dim: int, dim_out: int | None) -> None:
        linear = {} if dim_out is None else {"2": Linear(dim, dim_out)}
        super().__init__({"1": nn.LayerNorm(dim), **linear})

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim_out)."""
        for layer in self.values():
            x = layer(x)
        return x


class Stage(nn.Module):
    """One of stages 1-7: change of scale, mutual and self attention, self attention, parallel warping and fusion."""

    def __init__(self, config: VRTConfig, index: int, level: int, reshape: str, drop_path: Sequence[float]) -> None:
        super().__init__()
        dim, depth = config.embed_dims[index], config.depths[index]
        self.level, self.reshape_kind, self.num_hops = level, reshape, config.num_hops
        self.reshape = NormLinear(
            {"none": dim, "down": dim * 4, "up": dim // 4}[reshape], None if reshape == "none" else dim
        )
        mutual_depth = int(config.mul_attn_ratio * depth)
        _, h, w = config.window_size
        self.residual_group1 = TMSAG(config, index, (2, h, w), mutual=True, drop_path=drop_path[:mutual_depth])
        self.linear1 = Linear(dim, dim)
        # Quirk: the drop path rates of group 2 start again at the stage's first one
        self.residual_group2 = TMSAG(
            config, index, config.window_size, mutual=False, drop_path=drop_path[: depth - mutual_depth]
        )
        self.linear2 = Linear(dim, dim)
        if self.num_hops:
            max_residual_px = 10 / 2**level
            self.pa_deform = FlowGuidedDeformableConv(dim, self.num_hops, config.deformable_groups, max_residual_px)
            self.pa_fuse = GEGLU(3 * dim, 3 * dim, dim)

    def forward(self, x: Tensor, flows: Flows | None, on_block: OnBlock = None) -> Tensor:
        """Run the stage.

        Args:
            x: (N, T, H', W', C') at the scale of the stage before.
            flows: Backward and forward flows between neighbours; None for a network without warping.
            on_block: Called before every block.

        Returns:
            (N, T, H, W, C).
        """
        x = self.reshape(self._change_scale(x))  # (N, T, H, W, C)
        x = ops.add_(self.linear1(self.residual_group1(x, on_block)), x)
        x = ops.add_(self.linear2(self.residual_group2(x, on_block)), x)
        if flows is None:
            return x
        if on_block is not None:
            on_block()
        return self._warp_and_fuse(x, flows[0][self.level], flows[1][self.level])

    def _change_scale(self, x: Tensor) -> Tensor:
        """Move pixels of 2x2 squares to channels or back; channels are in the order (w, h, c)."""
        if self.reshape_kind == "down":
            return rearrange(x, "n t (h h2) (w w2) c -> n t h w (w2 h2 c)", h2=2, w2=2)  # (N, T, H/2, W/2, 4C)
        if self.reshape_kind == "up":
            return rearrange(x, "n t h w (w2 h2 c) -> n t (h h2) (w w2) c", h2=2, w2=2)  # (N, T, 2H, 2W, C/4)
        return x

    def _warp_and_fuse(self, x: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
        """Parallel warping (section 3.3): replace each frame by a fusion of itself and its aligned neighbours.

        Args:
            x: (N, T, H, W, C).
            backward: flow(t, t+1), (N, T-1, 2, H, W).
            forward: flow(t+1, t), likewise.

        Returns:
            (N, T, H, W, C).
        """
        N, T, H, W, C = x.shape
        channels_first = x.movedim(-1, 2).contiguous()  # (N, T, C, H, W)
        by_hop = flows_by_hop(backward, forward, self.num_hops)

        def fuse(start: int, stop: int) -> Tensor:
            aligned = align_neighbours(self.pa_deform, channels_first, *by_hop, start, stop)  # (N, t, 2C, H, W)
            aligned = torch.cat((x[:, start:stop], aligned.movedim(2, -1)), dim=-1)  # (N, t, H, W, 3C)
            return self.pa_fuse(aligned)  # (N, t, H, W, C)

        frame_bytes = chunking.warped_frame_bytes(C, self.num_hops, self.pa_deform.groups, N * H * W, x.element_size())
        return chunking.map_chunks(fuse, T, frame_bytes, x.device, dim=1)
