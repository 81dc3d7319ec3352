"""Temporal mutual self attention (TMSA): the block that VRT is made of (paper, section 3.2).

A block works on the tokens of some attention windows, (B, L, C): B windows of L = T * H * W tokens, first axis slowest.
Everything in it is local to a window. ``TMSAG`` runs blocks over the windows of a feature map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import ops
from .config import VRTConfig
from .ops import Linear, WindowBatch, WindowSize

OnBlock = Callable[[], object] | None
"""Called before every block; an exception ends the pass."""


class GEGLU(nn.Module):
    """Gated feed-forward: fc2(GELU(fc11(x)) * fc12(x)) (Shazeer, arXiv:2002.05202); upstream ``Mlp_GEGLU``."""

    def __init__(self, dim: int, hidden: int, dim_out: int | None = None) -> None:
        super().__init__()
        self.fc11 = Linear(dim, hidden)
        self.fc12 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim_out or dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim_out)."""
        return self.fc2(ops.mul_(F.gelu(self.fc11(x)), self.fc12(x)))


class WindowAttention(nn.Module):
    """Multi-head attention within windows: self attention, and mutual attention between a window's two frames."""

    def __init__(
        self,
        dim: int,
        window: WindowSize,
        num_heads: int,
        *,
        mutual: bool,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.num_heads, self.mutual = num_heads, mutual
        self.head_dim = dim // num_heads
        self.scale = qk_scale or self.head_dim**-0.5
        t, h, w = window
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * t - 1) * (2 * h - 1) * (2 * w - 1), num_heads)
        )
        self.qkv_self = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(2 * dim if mutual else dim, dim)
        if mutual:
            self.qkv_mut = Linear(dim, 3 * dim, bias=qkv_bias)

    def forward(self, x: Tensor, window: WindowBatch) -> Tensor:
        """Attend within each window.

        Args:
            x: Tokens, (B, L, C); if the window has two frames, the first L/2 belong to the first one.
            window: Biases and position encoding.

        Returns:
            (B, L, C).
        """
        out = self.self_attention(x, window)  # (B, L, C)
        if self.mutual:
            out = torch.cat((self.mutual_attention(x, window), out), dim=2)  # (B, L, 2C)
        return ops.merge_heads(out, self.proj, self.head_dim)  # (B, L, C)

    def self_attention(self, x: Tensor, window: WindowBatch) -> Tensor:
        """Multi-head self attention with relative position bias (MSA): (B, L, C) -> (B, L, C)."""
        q, k, v = ops.split_heads(x, self.qkv_self, self.num_heads)  # (B, heads, L, d)
        biases = [(group.num_windows, group.position_bias) for group in window.bias_groups]
        return ops.window_attention(q, k, v, biases, self.scale)

    def mutual_attention(self, x: Tensor, window: WindowBatch) -> Tensor:
        """Mutual attention (MA) between the two frames X1, X2 of each window: (B, L, C) -> (B, L, C).

        Each frame's queries search the other frame, which aligns the two (section 3.2). The first half of the result is
        softmax(scale * Q2 K1^T) V1, the second half softmax(scale * Q1 K2^T) V2.
        """
        assert window.position_encoding is not None
        frames = x.view(-1, *window.position_encoding.shape) + window.position_encoding  # (2B, L/2, C): X1, X2, X1, ...
        q, k, v = ops.split_heads(frames, self.qkv_mut, self.num_heads)  # (2B, heads, L/2, d)
        q = torch.stack((q[1::2], q[::2]), dim=1).flatten(0, 1)  # Q2, Q1, Q2, ... against K1, K2, K1, ...
        masks = [(2 * group.num_windows, group.frame_mask) for group in window.bias_groups]
        return ops.window_attention(q, k, v, masks, self.scale).view(*x.shape[:2], -1)  # (B, L, C)

    def position_bias(self, index: Tensor) -> Tensor:
        """Return the relative position bias for an index of the table, (L, L) -> (1, heads, L, L)."""
        return F.embedding(index, self.relative_position_bias_table).permute(2, 0, 1).contiguous()[None]


class TMSA(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)), on the tokens of windows."""

    def __init__(self, config: VRTConfig, index: int, window: WindowSize, *, mutual: bool, drop_path: float) -> None:
        super().__init__()
        dim, num_heads = config.embed_dims[index], config.num_heads[index]
        self.drop_path_rate = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(
            dim, window, num_heads, mutual=mutual, qkv_bias=config.qkv_bias, qk_scale=config.qk_scale
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GEGLU(dim, int(dim * config.mlp_ratio))

    def forward(self, x: Tensor, window: WindowBatch) -> Tensor:
        """Run the block on tokens (B, L, C), which it may overwrite."""
        # Quirk: padding is zero after the norm and takes part unmasked; the released weights need it
        x = ops.add_(x, self._drop_path(self.attn(window.zero_padding(self.norm1(x)), window)))
        return ops.add_(x, self._drop_path(self.mlp(self.norm2(x))))

    def _drop_path(self, y: Tensor) -> Tensor:
        """Stochastic depth (Huang et al., arXiv:1603.09382), drawn for each window (B, L, C)."""
        if not (self.training and self.drop_path_rate):
            return y
        keep_rate = 1 - self.drop_path_rate
        keep = (torch.rand(y.shape[0], 1, 1, device=y.device) < keep_rate).to(y.dtype)
        return y * keep / keep_rate


class TMSAG(nn.Module):
    """A group of TMSA blocks; those at odd index attend in shifted windows."""

    def __init__(
        self,
        config: VRTConfig,
        index: int,
        window: WindowSize,
        *,
        mutual: bool,
        drop_path: Sequence[float],
    ) -> None:
        """Create a block for each rate in ``drop_path``; ``index`` is the group's place in ``config.depths``."""
        super().__init__()
        self.window_size, self.mutual = window, mutual
        self.blocks = nn.ModuleList(TMSA(config, index, window, mutual=mutual, drop_path=rate) for rate in drop_path)

    def forward(self, x: Tensor, on_block: OnBlock = None) -> Tensor:
        """Map (N, T, H, W, C) to the same shape."""
        if not self.blocks:
            return x
        _, h, w = self.window_size
        encoding = ops.sine_position_encoding(h, w, x.shape[-1], x) if self.mutual else None  # (h * w, C)
        features = ops.FeatureMap(x)
        for i, block in enumerate(self.blocks):
            assert isinstance(block, TMSA)
            if on_block is not None:
                on_block()
            ops.map_windows(
                block,
                features,
                self.window_size,
                shifted=i % 2 == 1,
                position_bias=block.attn.position_bias,
                position_encoding=encoding,
            )
        return features.x
