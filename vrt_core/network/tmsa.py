"""Temporal mutual self attention (TMSA): the block that VRT is made of (paper, section 3.2).

A block takes the tokens of some windows and returns them attended and fed forward. Everything in it is local to a
window, so a group runs a block over a few windows at a time: neither attention matrices nor hidden layers of a whole
clip exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ops.chunking import add_to, multiply_by
from .ops.linear import Linear, linear
from .ops.onednn import onednn_is_quicker

_ALIGNED_BYTES = 16
"""Fused attention wants the numbers of one head to fill whole vectors: without, it is slow on a CPU, and on CUDA a
kernel that writes the attention matrix out takes its place."""

_SCORES_BYTES = 4 << 20
"""Scores that exist at a time where attention is written out: what stays in the caches of a CPU."""


class GEGLU(nn.Module):
    """Gated feed-forward: fc2(GELU(fc11(x)) * fc12(x)) (Shazeer, arXiv:2002.05202); upstream ``Mlp_GEGLU``."""

    def __init__(self, dim: int, hidden: int, dim_out: int | None = None) -> None:
        super().__init__()
        self.fc11 = Linear(dim, hidden)
        self.fc12 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim_out or dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim_out)."""
        return self.fc2(multiply_by(F.gelu(self.fc11(x)), self.fc12(x)))


@dataclass(frozen=True)
class Projections:
    """Weights (out, in) and biases of the linear layers of attention, heads filled up with zeros where they need it."""

    qkv_self: tuple[Tensor, Tensor | None]
    qkv_mut: tuple[Tensor, Tensor | None] | None
    proj: tuple[Tensor, Tensor]


Biases = tuple[Tensor, "Tensor | None"]
"""Added to query . key: in self attention, (1, heads, L, L); in mutual attention, (L/2, L/2) or None."""
Kinds = Sequence[tuple[int, Tensor, "Tensor | None"]]
"""How many windows share which ``Biases``, in order."""


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Return softmax(scale * q . k + bias) . v, for (B, heads, L, d) each and a bias that broadcasts to (L, L).

    By torch's fused kernel; written out, for some windows at a time, where the products in that one are slow.
    """
    if not onednn_is_quicker(q):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    B, heads, L, d = q.shape
    log2_e = math.log2(math.e)  # powers of two are quicker to compute than those of e
    step = min(max(_SCORES_BYTES // (heads * L * L * q.element_size()), 1), B)
    scores, out = q.new_empty(step, heads, L, L), q.new_empty(B, heads, L, d)
    for *qkv, found in zip(q.split(step), k.split(step), v.split(step), out.split(step), strict=True):
        queries, keys, values = (x.reshape(-1, L, d) for x in qkv)
        logits = scores[: len(found)].view(-1, L, L)
        torch.baddbmm(logits, queries, keys.transpose(1, 2), beta=0, alpha=scale * log2_e, out=logits)
        if bias is not None:
            logits.view(-1, heads, L, L).add_(bias, alpha=log2_e)
        powers = logits.sub_(logits.amax(dim=2, keepdim=True)).exp2_()
        torch.bmm(powers, values, out=found.view(-1, L, d)).div_(powers.sum(dim=2, keepdim=True))
    return out


class WindowAttention(nn.Module):
    """Multi-head attention within windows: self attention, and mutual attention of a window's two frames."""

    def __init__(
        self,
        dim: int,
        window: tuple[int, int, int],
        num_heads: int,
        *,
        mutual: bool,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.window, self.num_heads, self.mutual = window, num_heads, mutual
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

    def position_bias(self, index: Tensor) -> Tensor:
        """Return what is added to query . key for their relative position (index: (L, L)), (1, heads, L, L)."""
        return F.embedding(index, self.relative_position_bias_table).permute(2, 0, 1).contiguous()[None]

    def projections(self) -> Projections:
        """Return the weights to attend with; made once for all windows."""
        unit = _ALIGNED_BYTES // self.proj.weight.element_size()
        missing = -self.head_dim % unit

        def fill(x: Tensor) -> Tensor:
            """(heads * head_dim, ...) with zeros at the end of each head."""
            if not missing:
                return x
            heads = x.unflatten(0, (-1, self.head_dim))
            return torch.cat((heads, heads.new_zeros(heads.shape[0], missing, *heads.shape[2:])), dim=1).flatten(0, 1)

        def filled(layer: nn.Linear) -> tuple[Tensor, Tensor | None]:
            return fill(layer.weight), None if layer.bias is None else fill(layer.bias)

        return Projections(
            filled(self.qkv_self),
            filled(self.qkv_mut) if self.mutual else None,
            (fill(self.proj.weight.t()).t(), self.proj.bias),
        )

    def forward(
        self,
        x: Tensor,
        weights: Projections,
        kinds: Kinds,
        encoding: Tensor | None,
    ) -> Tensor:
        """Attend within each window.

        Args:
            x: Tokens of B windows end to end, (B * L, C) with L = Wt * Wh * Ww; the first half of a window belongs to
                its first frame if Wt is 2.
            weights: What ``projections`` returned.
            kinds: How many windows share which ``Biases``, in order.
            encoding: Sine encoding of one frame of the window, (L/2, C); needed for mutual attention.
        """
        counts = [count for count, *_ in kinds]
        L = kinds[0][1].shape[-1]
        out = self._attend(*self._heads(linear(x, *weights.qkv_self), L), counts, [bias for _, bias, _ in kinds])
        if weights.qkv_mut is not None:
            assert encoding is not None
            frames = (x.view(-1, *encoding.shape) + encoding).flatten(0, 1)
            q, k, v = self._heads(linear(frames, *weights.qkv_mut), L // 2)  # frame 1 of a window, then frame 2
            q = torch.stack((q[1::2], q[::2]), dim=1).flatten(0, 1)  # frame 1 is asked by frame 2, frame 2 by frame 1
            mutual = self._attend(q, k, v, [2 * count for count in counts], [mask for *_, mask in kinds])
            out = torch.cat((mutual, out), dim=1)
        return linear(out, *weights.proj)

    def _heads(self, qkv: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
        # (B * length, 3 * heads * d) -> 3 x (B, heads, length, d)
        q, k, v = qkv.view(-1, length, 3, self.num_heads, qkv.shape[1] // (3 * self.num_heads)).unbind(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, counts: Sequence[int], biases: Sequence[Tensor | None]
    ) -> Tensor:
        """Attend with a bias for each run of so many windows; return (B * L, heads * d)."""
        runs = zip(q.split(counts), k.split(counts), v.split(counts), biases, strict=True)
        out = [attend(q, k, v, bias, self.scale) for q, k, v, bias in runs]
        tokens = [x.transpose(1, 2).flatten(2).flatten(0, 1) for x in out]
        return tokens[0] if len(tokens) == 1 else torch.cat(tokens)


class TMSA(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)), on the tokens of windows."""

    def __init__(
        self,
        dim: int,
        window: tuple[int, int, int],
        num_heads: int,
        *,
        mutual: bool,
        mlp_ratio: float,
        drop_path: float,
        qkv_bias: bool,
        qk_scale: float | None,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, num_heads, mutual=mutual, qkv_bias=qkv_bias, qk_scale=qk_scale)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GEGLU(dim, int(dim * mlp_ratio))

    def forward(
        self,
        x: Tensor,
        inside: Tensor | None,
        weights: Projections,
        kinds: Kinds,
        encoding: Tensor | None,
    ) -> Tensor:
        """Run the block on tokens (B * L, C), which it may overwrite.

        ``inside`` is the one of ``WindowPlan``; ``WindowAttention.forward`` has the rest.
        """
        y = self.norm1(x)
        if inside is not None:
            # Quirk: padding is zero after the norm and takes part unmasked; the released weights need it
            y = multiply_by(y, inside)
        length = kinds[0][1].shape[-1]
        x = add_to(x, self._drop(self.attn(y, weights, kinds, encoding), length))
        return add_to(x, self._drop(self.mlp(self.norm2(x)), length))

    def _drop(self, y: Tensor, length: int) -> Tensor:
        """Stochastic depth (Huang et al., arXiv:1603.09382), drawn for each window."""
        if not (self.training and self.drop_path):
            return y
        keep = 1 - self.drop_path
        windows = y.unflatten(0, (-1, length))
        kept = (torch.rand(windows.shape[0], 1, 1, device=y.device) < keep).to(y.dtype)
        return (windows * kept / keep).flatten(0, 1)
