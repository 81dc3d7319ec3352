"""Modulated deformable convolution (DCNv2; Zhu et al., arXiv:1811.11168), 3x3, stride 1, zero padding."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..flow import sample
from . import chunking
from .inplace import add_, mul_
from .mode import use_reference


class OffsetsAndMask(Protocol):
    """Computes sampling offsets and modulation for some rows of the output."""

    def __call__(self, raw: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Return offsets (B, G * 18, H, W) in pixels, (y, x) for each group and tap, and the mask (B, G * 9, H, W).

        Args:
            raw: Those rows of the raw offsets.
            rows: Their place in the whole map.
        """
        ...


def deform_conv(
    x: Tensor, raw: Tensor, offsets_and_mask: OffsetsAndMask, weight: Tensor, bias: Tensor, groups: int
) -> Tensor:
    """Convolve ``x`` at displaced positions; the sampled taps exist for some rows of the output at a time.

    Args:
        x: (B, C_in, H, W).
        raw: Output of the offset convolution, (B, G * 27, H, W).
        offsets_and_mask: Turns rows of ``raw`` into offsets and mask.
        weight: (C_out, C_in / groups, 3, 3).
        bias: (C_out,).
        groups: Groups of the convolution.

    Returns:
        (B, C_out, H, W).
    """
    if use_reference():
        return deform_conv_reference(x, *offsets_and_mask(raw.contiguous(), slice(None)), weight, bias, groups)

    def convolve_rows(top: int, stop: int) -> Tensor:
        rows = slice(top, stop)
        offset, mask = offsets_and_mask(raw[:, :, rows].contiguous(), rows)
        return _deform_conv_rows(x, offset, mask, weight, bias, groups, top)

    B, C_in, H, W = x.shape
    return chunking.map_chunks(
        convolve_rows, H, chunking.deform_row_bytes(C_in, B, W, x.element_size()), x.device, dim=2
    )


def deform_conv_reference(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Return y(p) = bias + sum over taps k of weight_k * mask_k(p) * x(p + p_k + offset_k(p)), (B, C_out, H, W)."""
    B, C_in, H, W = x.shape
    G = mask.shape[1] // chunking.NUM_TAPS  # groups of channels with common offsets
    x = x.reshape(B * G, C_in // G, H, W)
    offset, mask = offset.float().reshape(B * G, -1, 2, H, W), mask.reshape(B * G, -1, 1, H, W)
    rows, columns = torch.arange(H, device=x.device)[:, None], torch.arange(W, device=x.device)
    out = bias.view(-1, 1)
    for k in range(chunking.NUM_TAPS):
        y_px, x_px = rows + k // 3 - 1 + offset[:, k, 0], columns + k % 3 - 1 + offset[:, k, 1]
        tap = (sample(x, x_px, y_px) * mask[:, k]).view(B, groups, -1, H * W)  # (B, groups, C_in / groups, H * W)
        out = out + (weight[:, :, k // 3, k % 3].view(groups, -1, tap.shape[2]) @ tap).flatten(
            1, 2
        )  # (B, C_out, H * W)
    return out.unflatten(2, (H, W))


def _deform_conv_rows(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, groups: int, top: int
) -> Tensor:
    """Compute the rows [top, top + H) of the output, (B, C_out, H, W): one sampling and one product for all taps."""
    B, C_in, H_in, W = x.shape
    H = offset.shape[2]
    G, taps = mask.shape[1] // chunking.NUM_TAPS, chunking.NUM_TAPS
    offset = offset.float().reshape(B * G, taps, 2, H, W)
    tap = torch.arange(taps, device=x.device)[:, None, None]
    rows = torch.arange(top, top + H, device=x.device)[:, None]
    columns = torch.arange(W, device=x.device)
    y_px = offset[:, :, 0] + (tap // 3 - 1 + rows)  # (B * G, 9, H, W)
    x_px = offset[:, :, 1] + (tap % 3 - 1 + columns)
    samples = sample(x.reshape(B * G, C_in // G, H_in, W), x_px.flatten(1, 2), y_px.flatten(1, 2))
    samples = mul_(samples.view(B, G, C_in // G, taps, H * W), mask.reshape(B, G, 1, taps, H * W))
    samples = samples.view(B, groups, C_in // groups * taps, H * W)
    out = weight.view(groups, -1, C_in // groups * taps) @ samples  # (B, groups, C_out / groups, H * W)
    return add_(out.view(B, -1, H, W), bias.view(-1, 1, 1))
