"""Chunk sizes: how many windows, frames or rows an operation processes at a time.

The formulas of bytes per item stand here alone. The memory planner (``inference/memory.py``) uses the same functions,
so its estimate follows when a formula changes. ``itemsize`` is in bytes per number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from .mode import use_reference

NUM_TAPS = 9
"""Sampling points of a 3x3 deformable convolution."""
_BAND_BYTES = 1 << 30
PRIOR_COPIES, GROUP_FILTER_COPIES = 7, 8
"""Copies of a band of frames: noisy, pilots, sums and weights, results."""


def budget_bytes(device: torch.device) -> int:
    """Return the bytes to process at a time: 16 MiB fit the caches of a CPU, 512 MiB keep an accelerator busy."""
    return 16 << 20 if device.type == "cpu" else 512 << 20


def items_in_budget(item_bytes: int, device: torch.device) -> int:
    """Return how many items of ``item_bytes`` fit the budget of a device, at least 1."""
    return max(budget_bytes(device) // item_bytes, 1)


def chunk_size(item_bytes: int, device: torch.device) -> int:
    """Return how many items to process at a time; all of them in the reference."""
    return sys.maxsize if use_reference() else items_in_budget(item_bytes, device)


def map_chunks(
    function: Callable[[int, int], Tensor], count: int, item_bytes: int, device: torch.device, *, dim: int
) -> Tensor:
    """Concatenate ``function(start, stop)`` along ``dim`` over chunks [start, stop) of ``count`` items."""
    step = chunk_size(item_bytes, device)
    return torch.cat([function(i, min(i + step, count)) for i in range(0, count, step)], dim=dim)


def even_chunks(count: int, max_size: int) -> list[tuple[int, int]]:
    """Return [start, stop) of chunks of nearly equal size, at most ``max_size`` items each."""
    parts = -(-count // max(max_size, 1))
    return [(part * count // parts, (part + 1) * count // parts) for part in range(parts)]


def window_token_bytes(channels: int, itemsize: int) -> int:
    """Return the bytes of one token in a TMSA block: mainly q, k and v, and the hidden layers of the MLP."""
    return 16 * channels * itemsize


def warped_frame_bytes(channels: int, num_hops: int, groups: int, pixels: int, itemsize: int) -> int:
    """Return the bytes of one frame in parallel warping: input and output of ``conv_offset`` in both directions.

    Args:
        channels: Channels of the feature map.
        num_hops: Neighbours aligned from each direction.
        groups: Offset groups of the deformable convolution.
        pixels: H * W, times N.
        itemsize: Bytes of one number.
    """
    return 2 * ((num_hops + 1) * channels + 3 * NUM_TAPS * groups) * pixels * itemsize


def deform_row_bytes(channels: int, frames: int, width: int, itemsize: int) -> int:
    """Return the bytes of one row in the deformable convolution: the sampled taps, before and after modulation.

    Args:
        channels: Input channels, those of all neighbours.
        frames: Frames in the batch.
        width: Pixels of a row.
        itemsize: Bytes of one number.
    """
    return 2 * NUM_TAPS * channels * frames * width * itemsize


def enlarged_frame_bytes(channels: int, scale: int, pixels: int, itemsize: int) -> int:
    """Return the bytes of one enlarged frame: the feature maps on both sides of the last pixel shuffle.

    Args:
        channels: Channels of the head.
        scale: Output size / input size.
        pixels: H * W of the input.
        itemsize: Bytes of one number.
    """
    return 2 * channels * scale**2 * pixels * itemsize


def deconvolved_frame_bytes(channels: int, num_samples: int, pixels: int, itemsize: int) -> int:
    """Return the bytes of one frame in motion deconvolution: samples, their positions and intermediate results.

    Args:
        channels: Channels of the frame.
        num_samples: Samples along the motion.
        pixels: H * W.
        itemsize: Bytes of one number.
    """
    return num_samples * (channels + 6) * pixels * itemsize


def filtered_block_bytes(frames: int, block_frames: int, coefficients: int) -> int:
    """Return the bytes of one block in the frequency prior: spectra of the noisy frames, the pilot and the result.

    Args:
        frames: T.
        block_frames: Frames of a block.
        coefficients: Channels times spatial frequencies; each is a pair of float32 numbers.
    """
    return 8 * coefficients * 4 * (frames + min(frames, block_frames))


def patch_row_bytes(candidates: int, frames: int, columns: int) -> int:
    """Return the bytes of one row of the grid of the patch search: a distance for each candidate.

    Args:
        candidates: Patches that each one is compared with.
        frames: T.
        columns: Places in a row.
    """
    return 4 * candidates * frames * columns


def group_bytes(group_size: int, channels: int, pixels: int) -> int:
    """Return the bytes of one group of patches in the group filter: noisy, restored, projected and weighted ones.

    Args:
        group_size: Patches.
        channels: Channels of a pixel.
        pixels: Pixels of a patch.
    """
    return 4 * group_size * (8 * channels * pixels + 3 * channels * group_size)


def band_height(height: int, row_bytes: int, copies: int, reach_px: int) -> int:
    """Return the rows of the bands in which a filter takes frames: whole frames while its copies fit 1 GiB.

    Args:
        height: H.
        row_bytes: Bytes of one row of all frames and channels.
        copies: Copies of a band that exist at the same time.
        reach_px: Rows that a band reads on either side; bands are multiples of it.
    """
    fitting = _BAND_BYTES // (copies * row_bytes)
    return height if height <= fitting else max((fitting - 2 * reach_px) // reach_px, 2) * reach_px
