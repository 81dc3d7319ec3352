"""Memory planner: estimates the peak memory of network passes from their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from ..models.cards import ModelCard
from ..network import VRTConfig
from ..network.ops.chunking import budget_bytes
from ..options import RestoreOptions

_MARGIN, _LEAST_BYTES = 1.05, 16 << 20
_KEPT_BY_MALLOC = 1.4
"""On a CPU, what a process holds over its tensors: freed pieces that nothing else fits, 1.1 to 1.7 where measured."""


def estimate_memory(
    config: VRTConfig | Mapping[str, Any],
    frames: int,
    height: int,
    width: int,
    dtype: torch.dtype = torch.float32,
    *,
    device: str | torch.device = "cpu",
) -> int:
    """Estimate the peak memory of one network pass, weights not counted.

    Counts the tensors that live at once where most do: in the attention and the parallel warping of stage 7, which
    holds the features of the stages before, in stage 8, and in enlargement. Each works on some tokens or frames at a
    time, more of them on accelerators. ``benchmarks/memory_planner.py`` compares with what a pass holds.

    Args:
        config: Of the network, or the arguments of ``build_network``.
        frames: Frames that it sees.
        height: Of these frames or of a tile of them, LQ pixels.
        width: Likewise.
        dtype: What it computes in.
        device: What it runs on.

    Returns:
        Bytes. On accelerators a little too many: within 15 % of what a pass holds where that is 0.2 GB or more; on a
        CPU within a fifth where that is 0.1 GB or more, units for float16 not counted on.
    """
    config = config if isinstance(config, VRTConfig) else VRTConfig.from_mapping(config)
    device = torch.device(device)
    dim, body, head, hops = config.embed_dims[0], config.embed_dims[-1], config.head_channels, config.hops
    pixels, size = height * width, dtype.itemsize
    tokens = frames * pixels
    kept = _KEPT_BY_MALLOC if device.type == "cpu" else 1

    def at_once(item_bytes: int, items: int) -> int:
        return min(max(budget_bytes(device) // item_bytes, 1), items)

    def tokens_at_once(channels: int) -> int:
        parts = -(-tokens // at_once(16 * channels * size, tokens))  # of equal size
        return -(-tokens // parts)

    def patches(taps: int, channels: int, tokens: int) -> float:
        """Bytes in which a CPU lays out what a convolution reads in float16; malloc gives such large pieces back."""
        return taps * channels * size * tokens / kept if (device.type, dtype) == ("cpu", torch.float16) else 0

    features = dim * size * tokens
    # held in stage 7: those of the first convolution, of stages 1 to 3, of stage 6, and its own
    held = 3.6 * features
    peaks = [held + features + max(11 * dim * size * tokens_at_once(dim), features)]  # mutual attention
    if hops:
        groups = config.deformable_groups
        frames_at_once = at_once(2 * ((hops + 1) * dim + 27 * groups) * size * pixels, frames)
        pairs = min(2 * frames_at_once, 2 * max(frames - 1, 1))  # of a frame and its neighbours, in both directions
        rows = at_once(2 * 9 * hops * dim * pairs * width * size, height)
        inputs, steer, taps = (hops + 1) * dim, 27 * groups, 9 * hops * dim
        offsets = (2 * inputs + dim + 2 * hops + steer) * size * pairs * pixels
        offsets += patches(9, inputs + 2 * hops, pairs * pixels)
        sampled = (inputs + steer + dim) * size * pairs * pixels
        sampled += (4 * taps + (3 * 18 * 4 + 9 * size) * groups) * pairs * width * rows  # positions in float32, thrice
        if size < 4:  # sampling runs in float32
            sampled += max(4 * hops * dim * pairs * pixels, size * taps * pairs * width * rows)
        fused = (frames - frames_at_once) / frames * features
        peaks.append(held + features + fused + max(offsets, sampled))
    wide = body * size * tokens
    peaks.append(features + 2 * wide + max(wide, 7.5 * body * size * tokens_at_once(body)))
    if config.upscale > 1:
        area = config.upscale**2 * pixels
        some = at_once(2 * head * area * size, frames)
        peaks.append(
            1.1 * features
            + 4 * 3 * area * (frames + 2 * some)
            + 2.4 * head * area * some * size
            + patches(25, head, some * area)
        )
    elif config.interpolates:
        peaks.append(3 * features + patches(49, head, pixels))
    else:
        peaks.append(2 * features + patches(9, dim, tokens))
    if config.middle_flow:
        peaks.append(estimate_flow_memory(config, height, width))
    return int(_MARGIN * kept * max(peaks)) + _LEAST_BYTES


def estimate_flow_memory(config: VRTConfig, height: int, width: int) -> int:
    """Estimate the peak memory of the flows between two frames of this size, both directions, in bytes."""
    channels = (8, *config.flow_channels, 2)
    widest = max(a + b for a, b in pairwise(channels))
    return int(_MARGIN * 2 * 4 * (widest + 64) * (height + 31) * (width + 31)) + _LEAST_BYTES


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
        if card.task != "interpolate":
            peak = max(peak, estimate_flow_memory(config, height, width))
        height, width = card.scale * height, card.scale * width
    return peak
