"""Attention: softmax(scale * q k^T + bias) v, and the choice of its backend.

- CPU, where oneDNN is preferred: written out, matrix products by oneDNN.
- CUDA: ``F.scaled_dot_product_attention`` (SDPA), pinned to its memory-efficient kernel for the whole pass. The kernel
  must not depend on torch's heuristics, and cuDNN's is unknown to FakeTensorMode.
- Everything else: SDPA as torch chooses.

SDPA has a backward pass, so training uses it too: written out, the scores of all windows would be kept for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .linear import linear
from .mode import use_reference
from .onednn import SharedContext, onednn_matmul, prefer_onednn

_ALIGNED_BYTES = 16
"""Heads are padded to a multiple of this: SDPA is slow on a CPU otherwise, and on CUDA falls back to the kernel that
materialises the attention matrix."""
_SCORES_BYTES = 4 << 20
"""Scores that exist at a time where attention is written out; they stay in the caches of a CPU."""

_efficient_sdpa = SharedContext(partial(sdpa_kernel, [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]))

_Method = TypeVar("_Method", bound=Callable[..., Any])


def pass_backend(x: Tensor) -> AbstractContextManager[Any]:
    """Set the backend of matrix products and attention for a forward pass on ``x``.

    torch's settings are process-wide, so enter this once for a pass. Does nothing while torch compiles or exports.
    """
    if x.device.type == "cuda" and not torch.compiler.is_compiling():
        return _efficient_sdpa()
    return onednn_matmul(x)


def with_pass_backend(method: _Method) -> _Method:
    """Run a method of a network in ``pass_backend`` of its first argument."""

    @wraps(method)
    def run(self: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with pass_backend(x):
            return method(self, x, *args, **kwargs)

    return cast(_Method, run)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Return softmax(scale * q k^T + bias) v, (B, heads, L, d).

    Args:
        q: Queries, (B, heads, L, d).
        k: Keys, likewise.
        v: Values, likewise.
        bias: Broadcasts to (B, heads, L, L), or None.
        scale: Factor of q k^T.
    """
    if use_reference(differentiable=True):
        return attention_reference(q, k, v, bias, scale)
    if prefer_onednn(q):
        return _attention_onednn(q, k, v, bias, scale)
    mask = None if bias is None else bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def attention_reference(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Return softmax(scale * q k^T + bias) v, (B, heads, L, d)."""
    scores = scale * q @ k.transpose(2, 3)  # (B, heads, L, L)
    return (scores if bias is None else scores + bias).softmax(dim=3) @ v


def _attention_onednn(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Compute the scores of some windows at a time, in place."""
    B, heads, L, d = q.shape
    log2_e = math.log2(math.e)  # exp2 is faster than exp
    step = min(max(_SCORES_BYTES // (heads * L * L * q.element_size()), 1), B)
    buffer, out = q.new_empty(step, heads, L, L), q.new_empty(B, heads, L, d)
    for start in range(0, B, step):
        part = slice(start, min(start + step, B))
        queries, keys, values = (x[part].reshape(-1, L, d) for x in (q, k, v))  # (windows * heads, L, d)
        scores = buffer[: part.stop - start].view(-1, L, L)  # (windows * heads, L, L)
        torch.baddbmm(scores, queries, keys.transpose(1, 2), beta=0, alpha=scale * log2_e, out=scores)
        if bias is not None:
            scores.view(-1, heads, L, L).add_(bias.expand(B, heads, L, L)[part], alpha=log2_e)
        powers = scores.sub_(scores.amax(dim=2, keepdim=True)).exp2_()
        torch.bmm(powers, values, out=out[part].view(-1, L, d)).div_(powers.sum(dim=2, keepdim=True))
    return out


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, biases: Sequence[tuple[int, Tensor | None]], scale: float
) -> Tensor:
    """Attend within windows that have different biases, and put the heads side by side: (B, L, heads * d).

    Args:
        q: Queries, (B, heads, L, d).
        k: Keys, likewise.
        v: Values, likewise.
        biases: Bias of each run of consecutive windows, as (number of windows, bias).
        scale: Factor of q k^T.
    """
    counts = [count for count, _ in biases]
    runs = zip(q.split(counts), k.split(counts), v.split(counts), biases, strict=True)
    out = [attention(q, k, v, bias, scale) for q, k, v, (_, bias) in runs]
    merged = [x.transpose(1, 2).flatten(2) for x in out]  # (windows, L, heads * d)
    return merged[0] if len(merged) == 1 else torch.cat(merged)


def split_heads(x: Tensor, qkv: nn.Linear, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Project tokens (B, L, C) to queries, keys and values, each (B, heads, L, d).

    The fast path pads d with zeros to a multiple of 16 bytes, which attention ignores and ``merge_heads`` removes.
    """
    weight, bias, head_dim = qkv.weight, qkv.bias, qkv.out_features // (3 * num_heads)
    weight, bias = _pad_heads(weight, head_dim), None if bias is None else _pad_heads(bias, head_dim)
    q, k, v = linear(x, weight, bias).unflatten(2, (3, num_heads, -1)).unbind(2)  # (B, L, heads, d)
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


def merge_heads(x: Tensor, proj: nn.Linear, head_dim: int) -> Tensor:
    """Project heads that lie side by side, (B, L, heads * d), to tokens (B, L, C)."""
    return linear(x, _pad_heads(proj.weight.t(), head_dim).t(), proj.bias)


def _pad_heads(weight: Tensor, head_dim: int) -> Tensor:
    """Append zeros to each head: (heads * head_dim, ...) -> (heads * d, ...)."""
    missing = -head_dim % (_ALIGNED_BYTES // weight.element_size())
    if not missing or use_reference(differentiable=True):
        return weight
    heads = weight.unflatten(0, (-1, head_dim))  # (heads, head_dim, ...)
    padding = heads.new_zeros(heads.shape[0], missing, *heads.shape[2:])
    return torch.cat((heads, padding), dim=1).flatten(0, 1)
