"""Filter of groups of similar patches, which needs no training: the last step of denoising; not part of the paper.

A patch of 8x8 px is compared with those around it in the same frame and the neighbouring ones, in the frames that the
network has restored. The most similar ones are a sample of a normal distribution, whose mean and covariance give the
best linear estimate of each of them from its noisy version (Lebrun, Buades, Morel: "A Nonlocal Bayesian Image Denoising
Algorithm", SIAM J. Imaging Sciences 2013; for video Arias, Morel, JMIV 2018). Motion needs no flow: a moved patch is
found where it has moved to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import chunking
from ..ops.mode import use_reference
from ..padding import mirror_pad, padded_size
from ..tmsa import OnBlock
from .frequency_prior import Span, opponent_colours
from .patch_search import NUM_CANDIDATES, PATCH_PX, search

REACH_PX = 32
"""Distance beyond which no pixel has an influence on a pass, rounded up to a multiple of the patches."""
MIN_SIZE_PX = 32
"""Frames are mirrored to this size, so that every patch has enough neighbours."""
GROUP_SIZE = 24
_LOST_TEXTURE, _MAX_LOST_RATIO = 16 / 255, 0.6
"""Noise power assumed beyond the true one, in units of its standard deviation, and at most in units of the true power:
the covariance of restored patches is too small."""
_PILOT_ERROR = 1 / 255
"""Standard deviation of errors of the restored patches that their covariance does not show."""


class GroupFilter(nn.Module):
    """Estimates clean frames from noisy ones and restored ones. It has no parameters and passes no gradient."""

    opponent: Tensor

    def __init__(self, num_passes: int) -> None:
        """Filter so often, each time with the last result in place of the restored frames."""
        super().__init__()
        self.num_passes = num_passes
        self.register_buffer("opponent", opponent_colours(), persistent=False)

    @torch.no_grad()
    def forward(self, clip: Tensor, pilot: Tensor, noise_level: Tensor, on_block: OnBlock = None) -> Tensor:
        """Return the estimate of a clip.

        Args:
            clip: Noisy RGB frames, (N, T, 3, H, W) float32, T >= 1.
            pilot: Restored frames, likewise.
            noise_level: Standard deviation of the noise in the units of ``clip``, (N, T, 1, H, W).
            on_block: Called before every strip and every chunk of groups; an exception ends the pass.

        Returns:
            (N, T, 3, H, W) float32.
        """
        with torch.autocast(clip.device.type, enabled=False):
            for _ in range(self.num_passes):
                pilot = torch.stack(
                    [self._pass(*parts, on_block) for parts in zip(clip, pilot, noise_level, strict=True)]
                )
        return pilot

    @torch.no_grad()  # as in a pass: with gradients, chunks are whole bands
    def num_chunks(self, num_frames: int, height: int, width: int, device: torch.device) -> int:
        """Return how often ``on_block`` is called for a clip of RGB frames of this size."""
        total = 0
        for top, bottom in _bands(num_frames, height, width):
            rows, columns = _grid(min(bottom + REACH_PX, height) - max(top - REACH_PX, 0), width)
            for first, last in _strips(num_frames, rows, columns, device):
                num_groups = num_frames * (last - first) * columns
                total += 1 + len(chunking.even_chunks(num_groups, _groups_at_once(device)))
        return self.num_passes * total

    def _pass(self, clip: Tensor, pilot: Tensor, noise_level: Tensor, on_block: OnBlock) -> Tensor:
        """Return the estimate of frames (T, 3, H, W) after one pass, band by band."""
        T, _, H, W = clip.shape
        out = torch.empty_like(clip)
        for top, bottom in _bands(T, H, W):
            rows = slice(max(top - REACH_PX, 0), min(bottom + REACH_PX, H))
            estimate = self._estimate(clip[:, :, rows], pilot[:, :, rows], noise_level[:, :, rows], on_block)
            out[:, :, top:bottom] = estimate[:, :, top - rows.start : bottom - rows.start]
        return out

    def _estimate(self, clip: Tensor, pilot: Tensor, noise_level: Tensor, on_block: OnBlock) -> Tensor:
        """Return the estimate of frames (T, 3, H, W)."""
        T, C, H, W = clip.shape
        clip, pilot, variance = (_pad(x) for x in (clip, pilot, noise_level.square()))
        colours = self.opponent.to(clip.dtype)
        frames = torch.einsum("ij,ktjhw->thwki", colours, torch.stack((clip, pilot)))  # (T, H', W', 2, 3)
        height, width = frames.shape[1:3]
        variances = F.avg_pool2d(variance, PATCH_PX)[:, 0]  # (T, rows, columns)
        num_rows, num_columns = variances.shape[1:]
        sums = frames.new_zeros(T * height * width, C + 1)  # values, weight
        for rows in _strips(T, num_rows, num_columns, clip.device):
            if on_block is not None:
                on_block()
            corners = search(frames[..., 1, 0], rows, GROUP_SIZE)  # (T * rows * columns, group)
            variance = variances[:, rows[0] : rows[1]].reshape(-1, 1, 1, 1)
            for start, stop in chunking.even_chunks(len(corners), _groups_at_once(clip.device)):
                if on_block is not None:
                    on_block()
                pixels = corners[start:stop, :, None] + _offsets(width, corners)  # (G, group, pixels)
                patches = frames.view(-1, 2, C)[pixels].permute(0, 3, 4, 1, 2)
                values, weight = _filter(patches, variance[start:stop])
                weighted = torch.cat((values * weight, weight.expand_as(values[:, :1])), dim=1)
                sums.index_add_(0, pixels.flatten(), weighted.permute(0, 2, 3, 1).reshape(-1, C + 1))
        estimate = (sums[:, :C] / sums[:, C:]).view(T, height, width, C)
        return torch.einsum("ij,thwi->tjhw", colours, estimate)[:, :, :H, :W]


def _bands(num_frames: int, height: int, width: int) -> list[Span]:
    """Return the rows of the bands that are filtered one after another."""
    band = chunking.band_height(height, 4 * num_frames * 3 * width, chunking.GROUP_FILTER_COPIES, REACH_PX)
    return [(top, min(top + band, height)) for top in range(0, height, band)]


def _grid(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of patches in frames of this size."""
    rows, columns = (padded_size(size, PATCH_PX, MIN_SIZE_PX) // PATCH_PX for size in (height, width))
    return rows, columns


def _strips(num_frames: int, rows: int, columns: int, device: torch.device) -> list[Span]:
    """Return the rows of patches whose neighbours are searched at a time."""
    row_bytes = chunking.patch_row_bytes(NUM_CANDIDATES, num_frames, columns)
    return chunking.even_chunks(rows, chunking.chunk_size(row_bytes, device))


def _groups_at_once(device: torch.device) -> int:
    """Return the groups that are filtered at a time."""
    return chunking.chunk_size(chunking.group_bytes(GROUP_SIZE, 3, PATCH_PX**2), device)


def _pad(frames: Tensor) -> Tensor:
    """Mirror frames (T, C, H, W) so that patches cover them."""
    rows, columns = _grid(*frames.shape[2:])
    return mirror_pad(mirror_pad(frames, 2, PATCH_PX * rows), 3, PATCH_PX * columns)


def _offsets(width: int, like: Tensor) -> Tensor:
    """Return the distances of the pixels of a patch from its corner, in frames of a width, (pixels,)."""
    side = torch.arange(PATCH_PX, device=like.device)
    return (side[:, None] * width + side).flatten()


def _filter(patches: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the estimates of the patches of groups, (G, C, group, pixels), and their weights, (G, 1, 1, 1).

    With the restored patches X, less their mean, and the noise variance v, the covariance of clean patches is
    X'X / N + e^2. Its Wiener filter is v / (v + e^2) times the projection X'(XX' + N (v + e^2))^-1 X, plus the rest.

    Args:
        patches: Noisy and restored ones, (G, 2, C, group, pixels).
        variance: Noise variance of each group, (G, 1, 1, 1).
    """
    noisy, restored = patches.unbind(1)
    mean = restored.mean(dim=2, keepdim=True)  # (G, C, 1, pixels)
    X, Y = restored - mean, noisy - mean
    num_patches, num_pixels = X.shape[2:]
    variance = variance + torch.minimum(_LOST_TEXTURE * variance.sqrt(), _MAX_LOST_RATIO * variance)
    level = variance + _PILOT_ERROR**2
    ratio = variance / level
    identity = torch.eye(num_patches, dtype=X.dtype, device=X.device)
    matrix = X @ X.mT + num_patches * level * identity  # (G, C, group, group)
    if use_reference() or torch.compiler.is_exporting():
        inverse = _invert(matrix)
        projected, trace = Y @ X.mT @ inverse @ X, inverse.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None]
    else:
        factor = torch.linalg.cholesky_ex(matrix)[0]
        root = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
        Z = root @ X
        projected, trace = (Y @ Z.mT) @ Z, root.square().sum(dim=(-2, -1), keepdim=True)
    estimate = noisy + ratio * (projected - Y)
    passed = num_patches * (1 - level * trace)  # what the projection leaves of white noise
    weight = 1 / ((passed / num_pixels + 1 / num_patches).mean(dim=1, keepdim=True))
    return estimate, weight


def _invert(matrix: Tensor) -> Tensor:
    """Return the inverse of positive definite matrices (..., n, n) by Gauss-Jordan elimination, which ONNX can do."""
    n = matrix.shape[-1]
    augmented = torch.cat((matrix, torch.eye(n, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)), dim=-1)
    for k in range(n):
        row = augmented[..., k : k + 1, :] / augmented[..., k : k + 1, k : k + 1]
        column = augmented[..., k : k + 1]
        is_pivot = (torch.arange(n, device=matrix.device) == k)[:, None]
        augmented = torch.where(is_pivot, row, augmented - column * row)
    return augmented[..., n:]
