"""Shifted attention windows (Swin Transformer, Liu et al., arXiv:2103.14030) in three dimensions.

``map_windows_reference`` states the operation: pad, roll, partition into windows, run a block, merge, roll back.
``map_windows`` does the same by index tables: it gathers some windows, runs the block on them, and writes the result
over their tokens. So neither a rolled copy nor the hidden layers of a whole feature map exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from . import chunking
from .inplace import mul_
from .mode import use_reference
from .position import relative_position_index

_MASKED = -100.0  # Quirk: Swin's finite mask, on which the released weights were trained

WindowSize = tuple[int, int, int]
"""Frames, rows and columns of a window."""


class BiasGroup(NamedTuple):
    """Consecutive windows of a batch that share the attention biases."""

    num_windows: int
    position_bias: Tensor
    """Relative position bias plus shift mask; broadcasts to (num_windows, heads, L, L)."""
    frame_mask: Tensor | None
    """Shift mask between the two frames of a window; broadcasts to (2 * num_windows, heads, L/2, L/2)."""


class WindowBatch(NamedTuple):
    """What a block needs to know about the windows whose tokens (B, L, C) it gets."""

    bias_groups: tuple[BiasGroup, ...]
    """Attention biases of the windows, in their order."""
    valid: Tensor | None
    """1 for tokens and 0 for padding, (B, L, 1) in the feature dtype; None if nothing is padded."""
    position_encoding: Tensor | None
    """Sine encoding of one frame of a window, (L/2, C), for mutual attention."""

    def zero_padding(self, x: Tensor) -> Tensor:
        """Set padded tokens of ``x`` (B, L, C) to zero; may overwrite ``x``."""
        return x if self.valid is None else mul_(x, self.valid)


Block = Callable[[Tensor, WindowBatch], Tensor]
"""Maps tokens of windows (B, L, C) to the same shape; may overwrite them."""


@dataclass(frozen=True)
class MaskGroup:
    """Windows that lie together in a partition and share a shift mask."""

    num_windows: int
    mask: Tensor | None
    """Added to q k^T, (L, L): 0 within a region and -100 between regions; None where all tokens may attend."""


@dataclass(frozen=True)
class WindowPartition:
    """The windows of a feature map, mask group by mask group, as an index table."""

    window: WindowSize
    """Window size after shrinking to axes that are not longer than it."""
    index: Tensor
    """Rows of the tokens of each window in the token matrix, (B, L), first axis slowest; its last row is padding."""
    valid: Tensor | None
    """1 for tokens and 0 for padding, (B, L) in the feature dtype; None if nothing is padded."""
    mask_groups: tuple[MaskGroup, ...]
    num_tokens: int
    """N * T * H * W: rows of the token matrix without the padding row."""

    def chunks(self, max_tokens: int) -> Iterator[tuple[Tensor, Tensor | None, list[tuple[int, int]]]]:
        """Yield runs of windows of about ``max_tokens`` tokens.

        Yields:
            ``index`` (B', L) and ``valid`` (B', L, 1) of the run, and the mask groups of its windows as (position in
            ``mask_groups``, number of windows), in order.
        """
        count, length = self.index.shape
        ends = list(accumulate(group.num_windows for group in self.mask_groups))
        for start, stop in chunking.even_chunks(count, max_tokens // length):
            counts = [
                (i, min(stop, end) - max(start, end - group.num_windows))
                for i, (group, end) in enumerate(zip(self.mask_groups, ends, strict=True))
            ]
            valid = None if self.valid is None else self.valid[start:stop, :, None]
            yield self.index[start:stop], valid, [(i, n) for i, n in counts if n > 0]


class FeatureMap:
    """A feature map whose windows are processed by one block after the other, in place.

    Attributes:
        x: The feature map, (N, T, H, W, C).
    """

    def __init__(self, x: Tensor) -> None:
        """Copy ``x``, (N, T, H, W, C), so that blocks may overwrite it; the reference overwrites nothing."""
        self.x = x
        self._partitions: dict[tuple[WindowSize, bool], WindowPartition] = {}
        self._bias_indices: dict[WindowSize, Tensor] = {}
        if not use_reference():
            self.tokens = F.pad(x.flatten(0, 3), (0, 0, 0, 1))  # (N * T * H * W + 1, C); the last row is for padding
            self.x = self.tokens[:-1].view_as(x)  # (N, T, H, W, C)

    def partition(self, window_size: WindowSize, *, shifted: bool) -> tuple[WindowPartition, Tensor]:
        """Return the windows and the index of their relative positions (L, L); computed once."""
        key = (window_size, shifted)
        if key not in self._partitions:
            N, T, H, W, _ = self.x.shape
            self._partitions[key] = partition_windows((N, T, H, W), window_size, shifted=shifted, like=self.x)
        window = self._partitions[key].window
        if window_size not in self._bias_indices:
            self._bias_indices[window_size] = relative_position_index(window, window_size, self.x.device)
        return self._partitions[key], self._bias_indices[window_size]


def map_windows(
    block: Block,
    features: FeatureMap,
    window_size: WindowSize,
    *,
    shifted: bool,
    position_bias: Callable[[Tensor], Tensor],
    position_encoding: Tensor | None = None,
) -> None:
    """Run a block on all windows of a feature map; ``features.x`` is the result.

    Args:
        block: Called with some windows at a time.
        features: The feature map.
        window_size: Window size (T, H, W). It shrinks to axes that are not longer.
        shifted: Whether windows are shifted by half their size along axes longer than the window.
        position_bias: Maps an index of relative positions (L, L) to biases (1, heads, L, L).
        position_encoding: Passed on to the block.
    """
    if use_reference():
        features.x = map_windows_reference(block, features.x, window_size, shifted, position_bias, position_encoding)
        return
    partition, bias_index = features.partition(window_size, shifted=shifted)
    bias, tokens = position_bias(bias_index), features.tokens
    token_bytes = chunking.window_token_bytes(tokens.shape[1], tokens.element_size())
    groups: dict[int, BiasGroup] = {}
    for index, valid, counts in partition.chunks(chunking.chunk_size(token_bytes, tokens.device)):
        masks = partition.mask_groups
        groups = {i: groups[i] if i in groups else _bias_group(0, bias, masks[i].mask) for i, _ in counts}
        batch = WindowBatch(
            tuple(groups[i]._replace(num_windows=count) for i, count in counts), valid, position_encoding
        )
        windows = block(F.embedding(index, tokens), batch)  # (B, L, C)
        tokens.index_copy_(0, index.flatten(), windows.flatten(0, 1))


def map_windows_reference(
    block: Block,
    x: Tensor,
    window_size: WindowSize,
    shifted: bool,
    position_bias: Callable[[Tensor], Tensor],
    position_encoding: Tensor | None = None,
) -> Tensor:
    """Pad and roll a feature map (N, T, H, W, C), run a block on its windows, merge them, roll back and crop."""
    (t, h, w), shift, (pad_t, pad_h, pad_w) = _geometry(x.shape[1:4], window_size, shifted=shifted)
    padding = (0, 0, 0, pad_w, 0, pad_h, 0, pad_t)

    def partition(x: Tensor) -> Tensor:
        x = x.roll([-s for s in shift], (1, 2, 3))  # (N, T', H', W', C), padded
        return rearrange(x, "n (nt t) (nh h) (nw w) c -> (n nt nh nw) (t h w) c", t=t, h=h, w=w)  # (B, L, C)

    padded = F.pad(x, padding)  # (N, T', H', W', C)
    region = torch.zeros_like(padded[..., :1])  # parts that the roll moves to the other end of an axis
    for axis, s in enumerate(shift, start=1):
        region.narrow(axis, 0, s).add_(2**axis)
    region = partition(region)  # (B, L, 1)
    mask = _MASKED * (region != region.mT).to(x.dtype)[:, None] if any(shift) else None  # (B, 1, L, L)
    bias = position_bias(relative_position_index((t, h, w), window_size, x.device))  # (1, heads, L, L)
    valid = partition(F.pad(torch.ones_like(x[..., :1]), padding)) if any(padding) else None  # (B, L, 1)
    windows = block(partition(padded), WindowBatch((_bias_group(len(region), bias, mask),), valid, position_encoding))
    T, H, W = x.shape[1:4]
    nt, nh, nw = -(-T // t), -(-H // h), -(-W // w)
    x = rearrange(windows, "(n nt nh nw) (t h w) c -> n (nt t) (nh h) (nw w) c", nt=nt, nh=nh, nw=nw, t=t, h=h, w=w)
    return x.roll(shift, (1, 2, 3))[:, :T, :H, :W]


def _bias_group(num_windows: int, position_bias: Tensor, mask: Tensor | None) -> BiasGroup:
    """Add the shift mask, (L, L) or (num_windows, 1, L, L), to the position bias (1, heads, L, L)."""
    if mask is None:
        return BiasGroup(num_windows, position_bias, None)
    half = mask.shape[-1] // 2
    frame_mask = mask[..., :half, :half]  # Quirk: the first frame's part serves both frames
    return BiasGroup(
        num_windows, position_bias + mask, frame_mask if mask.ndim == 2 else frame_mask.repeat_interleave(2, dim=0)
    )


def partition_windows(
    shape: tuple[int, int, int, int], window_size: WindowSize, *, shifted: bool, like: Tensor
) -> WindowPartition:
    """Partition a feature map into windows.

    The window shrinks to axes that are not longer than it; these are not shifted. The others are padded at their end to
    a multiple of the window and, if ``shifted``, rolled back by half of it.

    Args:
        shape: (N, T, H, W) of the feature map.
        window_size: Window size (T, H, W).
        shifted: Whether windows are shifted by half their size (blocks at odd index).
        like: Gives device and dtype.
    """
    N, *sizes = shape
    window, shifts, _ = _geometry(sizes, window_size, shifted=shifted)
    length, num_tokens = math.prod(window), N * math.prod(sizes)

    positions, parts = [], []
    for axis, (size, w, shift) in enumerate(zip(sizes, window, shifts, strict=True)):
        padded = -(-size // w) * w
        at = torch.arange(padded, device=like.device)
        at = (at + shift) % padded if shift else at
        at = torch.where(at < size, at, -1) if padded > size else at  # -1 where padded
        at_axis = [1] * 6  # windows along T, H, W, then tokens along T, H, W
        at_axis[axis], at_axis[3 + axis] = padded // w, w
        positions.append(at.view(at_axis))
        last = padded // w - 1
        # only the last window of a shifted axis joins the two ends of the map, so only that one needs a mask
        wrapped = _wrapped_pairs(axis, w, shift, like) if shift else None
        parts.append([(slice(0, last), None), (slice(last, None), wrapped)] if shift else [(slice(None), None)])

    t, h, w = positions
    index = (t * sizes[1] + h) * sizes[2] + w  # (nT, nH, nW, Wt, Wh, Ww)
    valid = None
    if index.numel() > math.prod(sizes):
        valid = (t >= 0) & (h >= 0) & (w >= 0)
        index = torch.where(valid, index, num_tokens)
        valid = valid.to(like.dtype).expand(N, *valid.shape)  # (N, nT, nH, nW, Wt, Wh, Ww)
    clips = torch.arange(N, device=like.device).view(-1, *[1] * 6) * math.prod(sizes)
    index = torch.where(index < num_tokens, index + clips, num_tokens) if valid is not None else index + clips

    groups, indices, valids = [], [], []
    for choice in product(*parts):
        at = (slice(None), *(part for part, _ in choice))
        rows = index[at].reshape(-1, length)  # (windows, L)
        if not len(rows):
            continue
        indices.append(rows)
        if valid is not None:
            valids.append(valid[at].reshape(-1, length))  # (windows, L)
        pairs = [wrapped for _, wrapped in choice if wrapped is not None]
        groups.append(MaskGroup(len(rows), _shift_mask(window, pairs, like) if pairs else None))
    return WindowPartition(window, torch.cat(indices), torch.cat(valids) if valids else None, tuple(groups), num_tokens)


def _geometry(
    sizes: Sequence[int], window_size: WindowSize, *, shifted: bool
) -> tuple[WindowSize, WindowSize, WindowSize]:
    """Return window size, shift and padding along T, H, W; windows shrink to axes that are not longer, unshifted."""
    window, shift, padding = zip(
        *(
            (w, w // 2 if shifted else 0, -size % w) if size > w else (size, 0, 0)
            for size, w in zip(sizes, window_size, strict=True)
        ),
        strict=True,
    )
    return window, shift, padding  # type: ignore[return-value]


def _wrapped_pairs(axis: int, size: int, shift: int, like: Tensor) -> Tensor:
    """Return pairs of tokens that are in one window only because of the cyclic shift along this axis.

    Boolean, (w, w) spread over six axes: those of the query's position, then those of the key's.
    """
    side = torch.arange(size, device=like.device) >= size - shift
    at_axis = [1] * 6
    at_axis[axis] = at_axis[3 + axis] = size
    return (side[:, None] != side).view(at_axis)


def _shift_mask(window: WindowSize, pairs: list[Tensor], like: Tensor) -> Tensor:
    """Return -100 for pairs of tokens that any axis has brought together, (L, L)."""
    apart = reduce(torch.logical_or, pairs).expand(*window, *window)
    return apart.reshape(2 * [math.prod(window)]).to(like.dtype) * _MASKED
