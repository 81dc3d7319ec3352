"""Stages of VRT: groups of TMSA blocks, after a change of scale and before parallel warping (paper, figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import VRTConfig
from .flow import Pyramid, flows_by_hop
from .ops.chunking import add_to, items_at_a_time
from .ops.linear import Linear
from .ops.windows import WindowKind, WindowPlan, plan_windows, relative_position_index, sine_position_encoding
from .tmsa import GEGLU, TMSA, Biases
from .warping import FlowGuidedDeformableConv, align_neighbours

Check = Callable[[], None] | None
"""Called before every block; raises to cancel."""


class TMSAG(nn.Module):
    """A group of TMSA blocks, those at odd index with shifted windows."""

    def __init__(
        self,
        config: VRTConfig,
        index: int,
        window: tuple[int, int, int],
        *,
        depth: int,
        mutual: bool,
        drop_path: Sequence[float],
    ) -> None:
        super().__init__()
        self.window, self.mutual = window, mutual
        self.blocks = nn.ModuleList(
            TMSA(
                config.embed_dims[index],
                window,
                config.num_heads[index],
                mutual=mutual,
                mlp_ratio=config.mlp_ratio,
                drop_path=drop_path[i],
                qkv_bias=config.qkv_bias,
                qk_scale=config.qk_scale,
            )
            for i in range(depth)
        )

    def forward(self, x: Tensor, check: Check = None) -> Tensor:
        """Run the blocks on (N, T, H, W, C)."""
        if not self.blocks:
            return x
        shape = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        plans = [
            plan_windows(shape, self.window, shifted=shifted, like=x) for shifted in (False, True)[: len(self.blocks)]
        ]
        relative = relative_position_index(plans[0].window, self.window, x.device)
        encoding = sine_position_encoding(*self.window[1:], x.shape[-1], x) if self.mutual else None
        rows = F.pad(x.flatten(0, 3), (0, 0, 0, 1))  # a row of zeros for padding; a copy that the blocks may overwrite
        for i, block in enumerate(self.blocks):
            assert isinstance(block, TMSA)
            if check is not None:
                check()
            rows = _run_block(block, rows, plans[i % 2], relative, encoding)
        return rows[:-1].view_as(x)


def _run_block(block: TMSA, rows: Tensor, plan: WindowPlan, relative: Tensor, encoding: Tensor | None) -> Tensor:
    """Run a block on the tokens (num_rows + 1, C), some windows at a time in place, or all at once to learn from."""
    bias, weights = block.attn.position_bias(relative), block.attn.projections()
    training = torch.is_grad_enabled()
    tokens = items_at_a_time(16 * rows.shape[1] * rows.element_size(), rows.device)

    def biases(kind: WindowKind) -> Biases:
        """Position bias and shift mask; for mutual attention the mask alone."""
        if kind.mask is None:
            return bias, None
        half = kind.mask.shape[0] // 2  # Quirk: the first frame's part serves both frames
        return bias + kind.mask, kind.mask[:half, :half]

    results: list[Tensor] = []
    made: dict[int, Biases] = {}
    for index, inside, shares in plan.chunks(tokens):
        made = {i: made[i] if i in made else biases(plan.kinds[i]) for i, _ in shares}
        y = block(F.embedding(index, rows), inside, weights, [(n, *made[i]) for i, n in shares], encoding)
        if training:
            results.append(y)
        else:
            rows.index_copy_(0, index, y)
    return F.pad(F.embedding(plan.inverse(), torch.cat(results)), (0, 0, 0, 1)) if training else rows


class ResidualGroup(nn.Module):
    """x + linear(group(x)): what stage 8 is made of; upstream ``RTMSA``."""

    def __init__(self, config: VRTConfig, index: int, window: tuple[int, int, int], drop_path: Sequence[float]) -> None:
        super().__init__()
        self.residual_group = TMSAG(
            config, index, window, depth=config.depths[index], mutual=False, drop_path=drop_path
        )
        self.linear = Linear(config.embed_dims[index], config.embed_dims[index])

    def forward(self, x: Tensor, check: Check = None) -> Tensor:
        """Map (N, T, H, W, C) to the same shape."""
        return add_to(self.linear(self.residual_group(x, check)), x)


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
        self.level, self.reshape_kind, self.hops = level, reshape, config.hops
        self.reshape = NormLinear(
            {"none": dim, "down": dim * 4, "up": dim // 4}[reshape], None if reshape == "none" else dim
        )
        mutual_depth = int(config.mul_attn_ratio * depth)
        _, h, w = config.window_size
        self.residual_group1 = TMSAG(config, index, (2, h, w), depth=mutual_depth, mutual=True, drop_path=drop_path)
        self.linear1 = Linear(dim, dim)
        # Quirk: the drop path rates of group 2 start again at the stage's first one
        self.residual_group2 = TMSAG(
            config, index, config.window_size, depth=depth - mutual_depth, mutual=False, drop_path=drop_path
        )
        self.linear2 = Linear(dim, dim)
        if self.hops:
            max_residual_px = 10 / 2**level
            self.pa_deform = FlowGuidedDeformableConv(dim, self.hops, config.deformable_groups, max_residual_px)
            self.pa_fuse = GEGLU(3 * dim, 3 * dim, dim)

    def forward(self, x: Tensor, flows: tuple[Pyramid, Pyramid] | None, check: Check = None) -> Tensor:
        """Run the stage.

        Args:
            x: (N, T, H, W, C) at the scale of the stage before.
            flows: Backward and forward flows between neighbours, each level (N, T-1, 2, H / 2^i, W / 2^i); None for a
                network without warping.
            check: Called before every block.
        """
        x = self._change_scale(x)
        x = add_to(self.linear1(self.residual_group1(x, check)), x)
        x = add_to(self.linear2(self.residual_group2(x, check)), x)
        if flows is None:
            return x
        if check is not None:
            check()
        return self._warp_and_fuse(x, flows[0][self.level], flows[1][self.level])

    def _change_scale(self, x: Tensor) -> Tensor:
        if self.reshape_kind == "down":
            x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (N, T, H/2, 2, W/2, 2, C)
            x = x.permute(0, 1, 2, 4, 5, 3, 6).flatten(4)  # channels in the order (w, h, c)
        elif self.reshape_kind == "up":
            x = x.unflatten(4, (2, 2, -1)).permute(0, 1, 2, 5, 3, 4, 6)  # (N, T, H, h, W, w, C/4)
            x = x.flatten(4, 5).flatten(2, 3)
        return self.reshape(x)

    def _warp_and_fuse(self, x: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
        """Replace each frame by a fusion of itself and its aligned neighbours, some frames at a time."""
        T = x.shape[1]
        channels_first = x.movedim(-1, 2).contiguous()
        by_hop = flows_by_hop(backward, forward, self.hops)
        # of one frame: the input and the output of the offset convolutions, for both directions
        channels = (self.hops + 1) * x.shape[-1] + self.pa_deform.steer_channels
        step = items_at_a_time(2 * channels * x[:, 0, ..., 0].numel() * x.element_size(), x.device)
        fused = []
        for start in range(0, T, step):
            stop = min(start + step, T)
            aligned = align_neighbours(self.pa_deform, channels_first, *by_hop, start, stop)
            aligned = torch.cat((x[:, start:stop], aligned.movedim(2, -1)), dim=-1)
            fused.append(self.pa_fuse(aligned))
            del aligned
        return torch.cat(fused, dim=1)
