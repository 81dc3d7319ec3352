"""Memory planner: estimates the peak memory of network passes from their sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from ..models.cards import ModelCard
from ..network import VRTConfig
from ..network.extensions import group_filter
from ..network.extensions.block_spectrum import BLOCK_FRAMES, BLOCK_PX
from ..network.extensions.frequency_prior import REACH_PX
from ..network.extensions.patch_search import NUM_CANDIDATES, PATCH_PX
from ..network.ops import chunking
from ..options import RestoreOptions

_MARGIN, _MIN_BYTES = 1.05, 16 << 20
_CPU_FRAGMENTATION = 1.4
"""Resident memory of a process on a CPU / bytes of its tensors: 1.1 to 1.7 where measured."""


def estimate_memory(
    config: VRTConfig | Mapping[str, Any],
    frames: int,
    height: int,
    width: int,
    dtype: torch.dtype = torch.float32,
    *,
    device: str | torch.device = "cpu",
) -> int:
    """Estimate the peak memory of one network pass, without weights, frequency prior and group filter.

    Counts the tensors that are alive at the places where a pass peaks: attention and parallel warping of stage 7, which
    holds the features of earlier stages; stage 8; and the head. Each place processes some tokens, frames or rows at a
    time, by the formulas of ``network/ops/chunking.py``. ``benchmarks/memory_planner.py`` compares the estimate with
    what a pass allocates.

    Args:
        config: Config of the network, or the arguments of ``build_network``.
        frames: Frames of the clip.
        height: Height of the frames or of a tile of them, LQ pixels.
        width: Width, likewise.
        dtype: Precision of the network.
        device: Device that it runs on.

    Returns:
        Bytes. On accelerators a little too many: within 15 % of what a pass allocates where that is 0.2 GB or more; on
        a CPU within 20 % where that is 0.1 GB or more, assuming no native float16.
    """
    config = config if isinstance(config, VRTConfig) else VRTConfig.from_mapping(config)
    clip = _ClipSize(frames, height, width, dtype, torch.device(device))
    if not config.depths:
        return 2 * _prior_clip_bytes(config, frames, height, width) + _MIN_BYTES
    peaks = [_mutual_attention_bytes(config, clip), _stage8_bytes(config, clip), _head_bytes(config, clip)]
    if config.num_hops:
        peaks.append(_warping_bytes(config, clip))
    if config.middle_flow:
        peaks.append(estimate_flow_memory(config, height, width))
    return int(_MARGIN * clip.fragmentation * max(peaks)) + _MIN_BYTES


@dataclass(frozen=True)
class _ClipSize:
    """Size of the clip that a pass works on, and what follows from it."""

    frames: int
    height: int
    width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def fragmentation(self) -> float:
        return _CPU_FRAGMENTATION if self.device.type == "cpu" else 1

    def features(self, channels: int) -> int:
        """Bytes of a feature map at full resolution."""
        return channels * self.itemsize * self.frames * self.pixels

    def chunk(self, item_bytes: int, count: int) -> int:
        """Items of ``count`` that are processed at a time."""
        return min(chunking.items_in_budget(item_bytes, self.device), count)

    def chunk_tokens(self, channels: int) -> int:
        """Tokens that a TMSA block processes at a time."""
        tokens = self.frames * self.pixels
        parts = -(-tokens // self.chunk(chunking.window_token_bytes(channels, self.itemsize), tokens))
        return -(-tokens // parts)

    def im2col(self, taps: int, channels: int, positions: int) -> float:
        """Size of the im2col buffer of an fp16 convolution on a CPU.

        It is returned to the system at once, hence not scaled by fragmentation.
        """
        if (self.device.type, self.dtype) != ("cpu", torch.float16):
            return 0
        return taps * channels * self.itemsize * positions / self.fragmentation


def _stage7_features(config: VRTConfig, clip: _ClipSize) -> float:
    """Features alive in stage 7: those of the first convolution, of stages 1 to 3 and of stage 6, and its own."""
    return 3.6 * clip.features(config.embed_dims[0])


def _mutual_attention_bytes(config: VRTConfig, clip: _ClipSize) -> float:
    dim = config.embed_dims[0]
    features = clip.features(dim)
    block = 11 * dim * clip.itemsize * clip.chunk_tokens(dim)
    return _stage7_features(config, clip) + features + max(block, features)


def _warping_bytes(config: VRTConfig, clip: _ClipSize) -> float:
    dim, hops, groups, size = config.embed_dims[0], config.num_hops, config.deformable_groups, clip.itemsize
    frame_bytes = chunking.warped_frame_bytes(dim, hops, groups, clip.pixels, size)
    frames_at_once = clip.chunk(frame_bytes, clip.frames)
    pairs = min(2 * frames_at_once, 2 * max(clip.frames - 1, 1))  # of a frame and its neighbours, in both directions
    positions = pairs * clip.pixels
    rows = clip.chunk(chunking.deform_row_bytes(hops * dim, pairs, clip.width, size), clip.height)

    inputs, raw, taps = (hops + 1) * dim, 3 * chunking.NUM_TAPS * groups, chunking.NUM_TAPS * hops * dim
    offsets = (2 * inputs + dim + 2 * hops + raw) * size * positions
    offsets += clip.im2col(9, inputs + 2 * hops, positions)
    sampled = (inputs + raw + dim) * size * positions
    row_positions = pairs * clip.width * rows
    sampled += (4 * taps + (3 * 18 * 4 + 9 * size) * groups) * row_positions  # three copies of float32 positions
    if size < 4:  # sampling runs in float32
        sampled += max(4 * hops * dim * positions, size * taps * row_positions)
    features = clip.features(dim)
    fused = (clip.frames - frames_at_once) / clip.frames * features
    return _stage7_features(config, clip) + features + fused + max(offsets, sampled)


def _stage8_bytes(config: VRTConfig, clip: _ClipSize) -> float:
    body = config.embed_dims[-1]
    features = clip.features(body)
    block = 7.5 * body * clip.itemsize * clip.chunk_tokens(body)
    return clip.features(config.embed_dims[0]) + 2 * features + max(features, block)


def _head_bytes(config: VRTConfig, clip: _ClipSize) -> float:
    dim, head = config.embed_dims[0], config.head_channels
    features = clip.features(dim)
    if config.interpolates:
        return 3 * features + clip.im2col(49, head, clip.pixels)
    if config.upscale == 1:
        return 2 * features + clip.im2col(9, dim, clip.frames * clip.pixels)
    area = config.upscale**2 * clip.pixels
    frame_bytes = chunking.enlarged_frame_bytes(head, config.upscale, clip.pixels, clip.itemsize)
    frames_at_once = clip.chunk(frame_bytes, clip.frames)
    return (
        1.1 * features
        + 4 * 3 * area * (clip.frames + 2 * frames_at_once)
        + 2.4 * head * area * frames_at_once * clip.itemsize
        + clip.im2col(25, head, frames_at_once * area)
    )


def estimate_flow_memory(config: VRTConfig, height: int, width: int) -> int:
    """Estimate the peak memory of the flows between two frames of this size, both directions, in bytes."""
    channels = (8, *config.flow_channels, 2)
    widest = max(a + b for a, b in pairwise(channels))
    return int(_MARGIN * 2 * 4 * (widest + 64) * (height + 31) * (width + 31)) + _MIN_BYTES


def estimate_prior_memory(config: VRTConfig, frames: int, height: int, width: int, device: torch.device) -> int:
    """Estimate the peak memory of the frequency prior on whole frames of this size, in bytes."""
    row_bytes = 4 * frames * config.in_chans * width
    band_height = min(chunking.band_height(height, row_bytes, chunking.PRIOR_COPIES, REACH_PX) + 2 * REACH_PX, height)
    step_px = config.prior_step_px
    num_blocks = math.prod(-(-side // step_px) + BLOCK_PX // step_px for side in (band_height, width))
    block_bytes = chunking.filtered_block_bytes(frames, BLOCK_FRAMES, config.in_chans * BLOCK_PX**2 // 2)
    chunk_bytes = min(chunking.budget_bytes(device), num_blocks * block_bytes)
    band_bytes = chunking.PRIOR_COPIES * row_bytes * band_height + chunk_bytes
    joined_bytes = _prior_clip_bytes(config, frames, height, width)  # both, at the end
    return joined_bytes + max(band_bytes, joined_bytes) + _MIN_BYTES


def estimate_group_filter_memory(config: VRTConfig, frames: int, height: int, width: int, device: torch.device) -> int:
    """Estimate the peak memory of the group filter on whole frames of this size, in bytes."""
    row_bytes = 4 * frames * config.in_chans * width
    band_height = chunking.band_height(height, row_bytes, chunking.GROUP_FILTER_COPIES, group_filter.REACH_PX)
    band_height = min(band_height + 2 * group_filter.REACH_PX, height + PATCH_PX)
    rows, columns = (-(-side // PATCH_PX) for side in (band_height, width))
    strip_bytes = chunking.patch_row_bytes(NUM_CANDIDATES, frames, columns)
    strip_bytes = min(rows * strip_bytes, max(strip_bytes, chunking.budget_bytes(device)))
    band_bytes = chunking.GROUP_FILTER_COPIES * row_bytes * band_height
    band_bytes += max(2 * strip_bytes, chunking.budget_bytes(device))
    return 3 * row_bytes * height + band_bytes + _MIN_BYTES


def _prior_clip_bytes(config: VRTConfig, frames: int, height: int, width: int) -> int:
    """Return the bytes of a clip with noise level and prior."""
    return 4 * (2 * config.in_chans + 1) * frames * height * width


def estimate_models_memory(
    cards: Sequence[ModelCard],
    options: RestoreOptions,
    clip_shape: tuple[int, int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> int:
    """Estimate the peak memory of models that run one after another, before they are on the device.

    Args:
        cards: Cards of the models, in the order in which they run.
        options: Windows and tiles; with automatic tiles, whole frames are counted.
        clip_shape: (T, H, W) of the clip.
        dtype: Precision of the networks.
        device: Device that they will run on.

    Returns:
        Bytes, weights not counted.
    """
    peak = 0
    num_frames, height, width = clip_shape
    for card in cards:
        config = VRTConfig.from_mapping(card.config)
        window = 4 if card.task == "interpolate" else min(options.window_frames or card.window_frames, num_frames)
        sides = options.tile_px if isinstance(options.tile_px, tuple) else (options.tile_px, options.tile_px)
        tile_height, tile_width = (
            min(size, side) if isinstance(side, int) and side > 0 else size
            for size, side in zip((height, width), sides, strict=True)
        )
        peak = max(peak, estimate_memory(config, window, tile_height, tile_width, dtype, device=device))
        if config.uses_flows:
            peak = max(peak, estimate_flow_memory(config, height, width))
        if config.prior_step_px:
            peak = max(peak, estimate_prior_memory(config, window, height, width, device))
        if config.group_passes:
            peak = max(peak, estimate_group_filter_memory(config, window, height, width, device))
        height, width = card.scale * height, card.scale * width
    return peak
