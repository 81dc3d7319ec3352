"""Resampling of chroma planes between the chroma grid and the luma grid, with the Catmull-Rom cubic.

Downsampling is the inverse of upsampling: a plane that was upsampled comes back exactly, and any other one becomes that
whose upsampled form is nearest to it by the mean square, up to the borders. Chroma samples sit where the frame's siting
tag says. Weights are computed in float64, sums in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import av
import torch
import torch.nn.functional as F
from torch import Tensor

from .colour import BOTTOM, BOTTOM_LEFT, CENTRE, TOP, TOP_LEFT

CORRECTION_REACH = 12
"""Distance in samples beyond which weights of a correction are left out; those sum up to less than 1e-5."""


def chroma_factors(pix_fmt: str) -> tuple[int, int]:
    """Return the number of luma samples per chroma sample, (down, across): (2, 2) for 4:2:0."""
    layout = av.VideoFormat(pix_fmt, 16, 16)
    chroma = [c for c in layout.components if not c.is_alpha][-1]
    return 16 // chroma.height, 16 // chroma.width


def catmull_rom(distance: float) -> float:
    """Return the Catmull-Rom kernel (Keys' cubic with a = -0.5) at a distance, in samples."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def upsample_chroma(chroma: Tensor, size: tuple[int, int], pix_fmt: str, siting: int) -> Tensor:
    """Interpolate a chroma plane on the luma grid.

    Args:
        chroma: (h, w) on the chroma grid.
        size: (H, W) of the luma grid.
        pix_fmt: Pixel format, which gives the subsampling.
        siting: Position of chroma samples, as in `Colour.siting`.

    Returns:
        (H, W).
    """
    (height, width), (down, across) = size, chroma_factors(pix_fmt)
    vertical, horizontal = _offsets((down, across), siting)
    chroma = _upsample_rows(chroma.T, down, vertical).T[:height]  # (H, w)
    return _upsample_rows(chroma, across, horizontal)[:, :width]  # (H, W)


def downsample_chroma(chroma: Tensor, pix_fmt: str, siting: int) -> Tensor:
    """Return the plane on the chroma grid whose upsampled form is nearest to a plane on the luma grid, (H, W).

    Sizes are rounded up.
    """
    down, across = chroma_factors(pix_fmt)
    vertical, horizontal = _offsets((down, across), siting)
    return _downsample_rows(_downsample_rows(chroma, across, horizontal).T, down, vertical).T


def _offsets(factors: tuple[int, int], siting: int) -> tuple[float, float]:
    """Return the position of the first chroma sample, in luma samples (down, across).

    A centred sample lies half a sample off the first luma sample. Without a tag, chroma is centred vertically and on
    the luma column horizontally ("left"), as in MPEG-2 and H.264.
    """
    down, across = factors
    centred_across = siting in (CENTRE, TOP, BOTTOM)
    vertical = 0.0 if siting in (TOP_LEFT, TOP) else (down - 1) if siting in (BOTTOM_LEFT, BOTTOM) else (down - 1) / 2
    return vertical, (across - 1) / 2 if centred_across else 0.0


def _upsample_rows(x: Tensor, factor: int, offset: float) -> Tensor:
    """(N, L) -> (N, factor * L): output sample j lies at (j - offset) / factor among the input samples."""
    if factor == 1:
        return x
    margin = 3 + factor
    padded = F.pad(x[None], (margin, margin), mode="replicate")[0]
    out = x.new_empty(*x.shape, factor)  # (N, L, phase)
    for phase in range(factor):
        position = (phase - offset) / factor
        first = math.floor(position) - 1
        out[..., phase] = _weighted_sum(
            (catmull_rom(position - tap), padded[:, margin + tap : margin + tap + x.shape[1]])
            for tap in range(first, first + 4)
        )
    return out.flatten(1)  # (N, factor * L)


def _downsample_rows(x: Tensor, factor: int, offset: float) -> Tensor:
    """(N, L) -> (N, ceil(L / factor)): the inverse of `_upsample_rows`, as the samples that have the means of `x`."""
    if factor == 1:
        return x
    means = _average_rows(x, factor, offset)
    length, reach = means.shape[1], CORRECTION_REACH
    num_cropped = factor * length - x.shape[1]
    correction = _correction(min(length, 4 * reach), factor, offset, num_cropped).to(means)
    if length <= 4 * reach:
        return _rows_times(means, correction)
    kernel = correction[2 * reach, reach : 3 * reach + 1].tolist()  # the same for all but the outermost samples
    middle = _weighted_sum((weight, means[:, n : n + length - 2 * reach]) for n, weight in enumerate(kernel))
    first = _rows_times(means[:, : 2 * reach], correction[:reach, : 2 * reach])
    last = _rows_times(means[:, -2 * reach :], correction[-reach:, -2 * reach :])
    return torch.cat([first, middle, last], 1)


@functools.cache
def _correction(length: int, factor: int, offset: float, num_cropped: int) -> Tensor:
    """Return the inverse of the matrix that upsamples a row, crops and averages it, (L, L), float64."""
    upsampled = _upsample_rows(torch.eye(length, dtype=torch.float64), factor, offset)
    return torch.linalg.inv(_average_rows(upsampled[:, : factor * length - num_cropped], factor, offset).T)


def _rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return (N, L) times (M, L) as (N, M), with sums whose order depends on nothing else, unlike those of BLAS."""
    return (rows[:, None] * matrix).sum(-1)


def _average_rows(x: Tensor, factor: int, offset: float) -> Tensor:
    """(N, L) -> (N, ceil(L / factor)): output sample i is the mean under the kernel at factor * i + offset."""
    length = math.ceil(x.shape[1] / factor)
    taps = range(math.ceil(offset - 2 * factor), math.floor(offset + 2 * factor) + 1)
    weights = [catmull_rom((tap - offset) / factor) for tap in taps]
    margin = 2 * factor
    padded = F.pad(x[None], (margin, margin + 2 * factor), mode="replicate")[0]
    samples = (padded[:, margin + tap :: factor][:, :length] for tap in taps)
    return _weighted_sum(zip(weights, samples, strict=True)) / sum(weights)


def _weighted_sum(terms: Iterable[tuple[float, Tensor]]) -> Tensor:
    """Return the sum of weight * samples, without holding the products."""
    (weight, samples), *rest = [term for term in terms if term[0]]
    total = samples * weight
    for weight, samples in rest:
        total.add_(samples, alpha=weight)
    return total
