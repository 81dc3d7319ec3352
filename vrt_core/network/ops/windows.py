"""Attention windows as index tables: which token sits where, and which pairs may attend.

A window plan is made once for a stage and shared by its blocks. Tokens are rows of an (N*T*H*W + 1, C) matrix; its last
row stands for padding. Windows of one kind (same shift mask) lie together, so that one mask serves them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, product

import torch
from torch import Tensor

_MASKED = -100.0  # Quirk: Swin's finite mask, on which the released weights were trained


@dataclass(frozen=True)
class WindowKind:
    """Windows that lie together in a plan and share a shift mask."""

    count: int
    """How many."""
    mask: Tensor | None
    """Added to query . key, (L, L): 0 within a region and -100 between regions; None where all may attend."""


@dataclass(frozen=True)
class WindowPlan:
    """The windows of a feature map, kind by kind."""

    window: tuple[int, int, int]
    """Window size (T, H, W) after shrinking to axes that are not longer than it."""
    index: Tensor
    """Rows of the tokens of each window, (B, L), first axis slowest; the last row of the matrix where padded."""
    inside: Tensor | None
    """1 for tokens and 0 for padding, (B, L) in the feature dtype; None if nothing is padded."""
    kinds: tuple[WindowKind, ...]
    num_rows: int
    """N*T*H*W: rows of the token matrix without the padding row."""

    def inverse(self) -> Tensor:
        """Return for each token its row in the windows laid end to end, (num_rows,)."""
        rows = torch.arange(self.index.numel(), device=self.index.device)
        return self.index.new_zeros(self.num_rows + 1).scatter_(0, self.index.flatten(), rows)[:-1]

    def chunks(self, tokens: int) -> Iterator[tuple[Tensor, Tensor | None, list[tuple[int, int]]]]:
        """Yield runs of windows of about ``tokens`` tokens.

        Yields:
            Rows (B' * L) and ``inside`` (B' * L, 1) of the run; and of which kinds its windows are: (position in
            ``kinds``, how many), in order.
        """
        count, length = self.index.shape
        ends = list(accumulate(kind.count for kind in self.kinds))
        parts = -(-count // max(tokens // length, 1))
        for part in range(parts):
            start, stop = part * count // parts, (part + 1) * count // parts
            shares = [min(stop, end) - max(start, end - kind.count) for kind, end in zip(self.kinds, ends, strict=True)]
            inside = None if self.inside is None else self.inside[start:stop].view(-1, 1)
            yield self.index[start:stop].flatten(), inside, [(i, share) for i, share in enumerate(shares) if share > 0]


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
    length, num_rows = math.prod(window), N * math.prod(sizes)

    positions, parts = [], []
    for axis, (size, w) in enumerate(zip(sizes, window, strict=True)):
        shift = w // 2 if shifted and size > w else 0
        padded = -(-size // w) * w
        at = torch.arange(padded, device=like.device)
        at = (at + shift) % padded if shift else at
        at = torch.where(at < size, at, -1) if padded > size else at  # -1 where padded
        at_axis = [1] * 6  # windows along T, H, W, then tokens along T, H, W
        at_axis[axis], at_axis[3 + axis] = padded // w, w
        positions.append(at.view(at_axis))
        last = padded // w - 1
        # only the last window of a shifted axis joins the two ends of the map, so only it needs a mask
        seam = _seam(axis, w, shift, like) if shift else None
        parts.append([(slice(0, last), None), (slice(last, None), seam)] if shift else [(slice(None), None)])

    t, h, w = positions
    index = (t * sizes[1] + h) * sizes[2] + w  # (nT, nH, nW, Wt, Wh, Ww)
    inside = None
    if index.numel() > math.prod(sizes):
        inside = (t >= 0) & (h >= 0) & (w >= 0)
        index = torch.where(inside, index, num_rows)
        inside = inside.to(like.dtype).expand(N, *inside.shape)
    clips = torch.arange(N, device=like.device).view(-1, *[1] * 6) * math.prod(sizes)
    index = torch.where(index < num_rows, index + clips, num_rows) if inside is not None else index + clips

    kinds, indices, insides = [], [], []
    for choice in product(*parts):
        at = (slice(None), *(part for part, _ in choice))
        indices.append(index[at].reshape(-1, length))
        if not len(indices[-1]):
            indices.pop()
            continue
        if inside is not None:
            insides.append(inside[at].reshape(-1, length))
        seams = [seam for _, seam in choice if seam is not None]
        kinds.append(WindowKind(len(indices[-1]), _shift_mask(window, seams, like) if seams else None))
    return WindowPlan(window, torch.cat(indices), torch.cat(insides) if insides else None, tuple(kinds), num_rows)  # type: ignore[arg-type]


def _seam(axis: int, size: int, shift: int, like: Tensor) -> Tensor:
    """Return which tokens the roll has brought together from different ends of an axis, (w, w) among six axes."""
    side = torch.arange(size, device=like.device) >= size - shift
    at_axis = [1] * 6
    at_axis[axis] = at_axis[3 + axis] = size
    return (side[:, None] != side).view(at_axis)


def _shift_mask(window: tuple[int, ...], seams: list[Tensor], like: Tensor) -> Tensor:
    """Return -100 between tokens that any of the seams parts, (L, L)."""
    apart = reduce(torch.logical_or, seams).expand(*window, *window)
    return apart.reshape(2 * [math.prod(window)]).to(like.dtype) * _MASKED


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
