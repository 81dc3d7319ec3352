"""Positions of tokens within an attention window: index of the relative position bias, sine encoding."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def relative_position_index(
    window: tuple[int, int, int], table_window: tuple[int, int, int], device: torch.device
) -> Tensor:
    """Return the row of the position bias table for each (query, key) pair of a window, (L, L).

    Offsets are query minus key, shifted to start at 0, first axis slowest.

    Args:
        window: Window size (T, H, W). A smaller window than the table's uses the part that its offsets reach.
        table_window: Window size of the bias table.
        device: Device of the result.
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
        angle = position[:, None] / period  # (count, C/2)
        return torch.where(feature % 2 == 0, angle.sin(), angle.cos())

    y, x = encode(height)[:, None].expand(-1, width, -1), encode(width)[None].expand(height, -1, -1)
    return torch.cat((y, x), dim=-1).flatten(0, 1).to(like.dtype)  # (H * W, C)
