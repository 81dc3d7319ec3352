"""Attention windows as index tables: which token sits where, and which pairs may attend.

A window plan is made once for a stage and shared by its blocks. Tokens are rows of an (N*T*H*W + 1, C) matrix; its last
row stands for padding. Windows of one kind (same shift mask) lie together, so that one mask serves them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

_MASKED = -100.0  # Quirk: Swin's finite mask, on which the released weights were trained


@dataclass(frozen=True)
class WindowKind:
    """Windows of one stage that share a shift mask."""

    index: Tensor
    """Rows of the tokens of each window, (B, L), first axis slowest; the last row of the matrix where padded."""
    inside: Tensor | None
    """1 for tokens and 0 for padding, (B, L) in the feature dtype; None if nothing is padded."""
    mask: Tensor | None
    """Added to query . key, (L, L): 0 within a region and -100 between regions; None where all may attend."""

    def chunks(self, tokens: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield rows (B' * L) and ``inside`` (B' * L, 1) of as many windows as hold about ``tokens`` tokens."""
        count, length = self.index.shape
        parts = -(-count // max(tokens // length, 1))
        for part in range(parts):
            some = slice(part * count // parts, (part + 1) * count // parts)
            yield self.index[some].flatten(), None if self.inside is None else self.inside[some].view(-1, 1)


@dataclass(frozen=True)
class WindowPlan:
    """The windows of a feature map."""

    window: tuple[int, int, int]
    """Window size (T, H, W) after shrinking to axes that are not longer than it."""
    kinds: tuple[WindowKind, ...]
    num_rows: int
    """N*T*H*W: rows of the token matrix without the padding row."""

    def inverse(self) -> Tensor:
        """Return for each token its row in the windows laid end to end, kind by kind, (num_rows,)."""
        index = torch.cat([kind.index.flatten() for kind in self.kinds])
        rows = torch.arange(index.shape[0], device=index.device)
        return index.new_zeros(self.num_rows + 1).scatter_(0, index, rows)[:-1]


def plan_windows(
    shape: tuple[int, int, int, int], window: tuple[int, int, int], *, shifted: bool, like: Tensor
) -> WindowPlan:
    """Lay windows over a feature map.

    An axis not longer than the window shrinks the window to it and is not shifted; the others are padded at their end
    to a multiple of the window and, if ``shifted``, rolled back by half of it.

    Args:
        shape: (N, T, H, W) of the feature map.
        window: (T, H, W) asked for.
        shifted: Whether windows move by half their size (blocks at odd index).
        like: Gives device and dtype.
    """
    N, *sizes = shape
    window = tuple(min(w, size) for w, size in zip(window, sizes, strict=True))  # type: ignore[assignment]
    shifts = [w // 2 if shifted and size > w else 0 for w, size in zip(window, sizes, strict=True)]
    num_rows = N * math.prod(sizes)

    positions, parts = [], []
    for size, w, shift in zip(sizes, window, shifts, strict=True):
        padded = -(-size // w) * w
        at = (torch.arange(padded, device=like.device) + shift) % padded
        positions.append(torch.where(at < size, at, -1).view(-1, w))  # (windows on this axis, w), -1 where padded
        last = padded // w - 1
        # only the last window of a shifted axis joins the two ends of the map, so only it needs a mask
        parts.append([(slice(0, last), False), (slice(last, None), True)] if shift else [(slice(None), False)])

    pads = any(p.numel() != size for p, size in zip(positions, sizes, strict=True))
    kinds = []
    for choice in product(*parts):
        t, h, w = (p[part] for p, (part, _) in zip(positions, choice, strict=True))
        if 0 in (t.shape[0], h.shape[0], w.shape[0]):
            continue
        t = t[:, None, None, :, None, None]
        h = h[:, None, None, :, None]
        w = w[:, None, None, :]
        index = (t * sizes[1] + h) * sizes[2] + w  # (nT, nH, nW, Wt, Wh, Ww)
        inside = (t >= 0) & (h >= 0) & (w >= 0)
        index, inside = (x.reshape(-1, math.prod(window)) for x in (index, inside))
        clips = torch.arange(N, device=like.device)[:, None, None] * math.prod(sizes)
        index = torch.where(inside, index + clips, num_rows).flatten(0, 1)
        valid = inside.repeat(N, 1).to(like.dtype) if pads else None
        kinds.append(WindowKind(index, valid, _shift_mask(window, shifts, [joined for _, joined in choice], like)))
    return WindowPlan(window, tuple(kinds), num_rows)  # type: ignore[arg-type]


def _shift_mask(window: tuple[int, ...], shifts: list[int], joined: list[bool], like: Tensor) -> Tensor | None:
    """Return -100 between tokens that the roll has brought together from different ends, (L, L)."""
    if not any(joined):
        return None
    region = torch.zeros(window, dtype=torch.long, device=like.device)
    for axis, (size, shift, joins) in enumerate(zip(window, shifts, joined, strict=True)):
        if joins:
            side = (torch.arange(size, device=like.device) >= size - shift).long()
            region = 2 * region + side.view([-1 if a == axis else 1 for a in range(3)])
    region = region.flatten()
    return (region[:, None] != region).to(like.dtype) * _MASKED


def relative_position_index(
    window: tuple[int, int, int], table_window: tuple[int, int, int], device: torch.device
) -> Tensor:
    """Return the row of the bias table for each (query, key) of a window, (L, L).

    Offsets are query minus key, shifted to start at 0, first axis slowest. ``table_window`` is the window that the
    table was made for; a smaller ``window`` uses the part of the table that its offsets reach.
    """
    at = torch.stack(torch.meshgrid(*(torch.arange(w, device=device) for w in window), indexing="ij")).flatten(1)
    offset = at[:, :, None] - at[:, None]  # (3, L, L)
    t, h, w = table_window
    return ((offset[0] + t - 1) * (2 * h - 1) + offset[1] + h - 1) * (2 * w - 1) + offset[2] + w - 1


def sine_position_encoding(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Return the 2-D sine encoding of a window, (height * width, channels): C/2 features of y, then C/2 of x.

    Positions 1..n are scaled to (0, 2 pi]; sine at even and cosine at odd features, temperature 10000
    (Carion et al., arXiv:2005.12872).
    """
    half = channels // 2
    feature = torch.arange(half, device=like.device)
    period = 10000 ** (2 * (feature // 2) / half)

    def encode(count: int) -> Tensor:
        position = torch.arange(1, count + 1, device=like.device) / (count + 1e-6) * 2 * math.pi
        angle = position[:, None] / period
        return torch.where(feature % 2 == 0, angle.sin(), angle.cos())

    y, x = encode(height)[:, None].expand(-1, width, -1), encode(width)[None].expand(height, -1, -1)
    return torch.cat((y, x), dim=-1).flatten(0, 1).to(like.dtype)
