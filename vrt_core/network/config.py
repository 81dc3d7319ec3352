"""The hyperparameters of a VRT network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..errors import InputError, short_repr

NUM_SCALED_STAGES = 7
"""Stages 1-7 run at the scales 1, 1/2, 1/4, 1/8, 1/4, 1/2, 1; the groups that follow belong to the flat stage 8."""

_MAX_BLOCKS = 512
"""Blocks of a network; published ones have 80."""
_MAX_WINDOW_TOKENS = 4096
"""Tokens of an attention window; published ones have 1024."""


class _Range(NamedTuple):
    """Type and range of a field, or of each entry of a list: of whole numbers unless ``kind`` is float."""

    kind: type
    min: float
    max: float
    entries: tuple[int, int] | None = None
    """Minimum and maximum number of entries; None for a single value."""


_RANGES: Mapping[str, _Range] = {
    "upscale": _Range(int, 1, 16),
    "in_chans": _Range(int, 1, 64),
    "out_chans": _Range(int, 1, 64),
    "img_size": _Range(int, 1, 1 << 20, (3, 3)),
    "window_size": _Range(int, 1, 256, (3, 3)),
    "depths": _Range(int, 0, _MAX_BLOCKS, (0, 64)),
    "indep_reconsts": _Range(int, -64, 64, (0, 64)),
    "embed_dims": _Range(int, 1, 4096, (0, 64)),
    "num_heads": _Range(int, 1, 256, (0, 64)),
    "mul_attn_ratio": _Range(float, 0, 1),
    "mlp_ratio": _Range(float, 0, 16),
    "qkv_bias": _Range(bool, 0, 1),
    "drop_path_rate": _Range(float, 0, 1),
    "pa_frames": _Range(int, 0, 6),
    "deformable_groups": _Range(int, 1, 4096),
    "nonblind_denoising": _Range(bool, 0, 1),
    "flow_channels": _Range(int, 1, 4096, (1, 16)),
    "head_channels": _Range(int, 1, 4096),
    "middle_flow": _Range(bool, 0, 1),
    "shutters": _Range(float, 0, 1, (0, 16)),
    "prior_step_px": _Range(int, 0, 12),
    "group_passes": _Range(int, 0, 4),
}
"""Ranges far above what any published network has. They bound the work that a config from a stranger's file causes."""


@dataclass(frozen=True, kw_only=True)
class VRTConfig:
    """Hyperparameters of a VRT network, under the names of the published constructor."""

    upscale: int = 4
    """Output size / input size: 1, 3, or a power of two."""
    in_chans: int = 3
    """Channels of an input frame, without the noise level map."""
    out_chans: int = 3
    """Channels of a restored frame."""
    img_size: tuple[int, int, int] = (6, 64, 64)
    """Clip size (T, H, W) in training. Only T has an effect, and only in interpolation: the number of input frames."""
    window_size: tuple[int, int, int] = (6, 8, 8)
    """Attention window (T, H, W): frames, then feature-map positions."""
    depths: tuple[int, ...] = (8,) * 7 + (4,) * 6
    """Blocks of stages 1-7, then of each residual group of stage 8."""
    indep_reconsts: tuple[int, ...] = (11, 12)
    """Indices into ``depths`` of the groups that attend within single frames."""
    embed_dims: tuple[int, ...] = (120,) * 7 + (180,) * 6
    """Channels, one entry for each of ``depths``; equal within stages 1-7 and within stage 8."""
    num_heads: tuple[int, ...] = (6,) * 13
    """Attention heads, one entry for each of ``depths``."""
    mul_attn_ratio: float = 0.75
    """Fraction of the blocks of stages 1-7 that have mutual attention."""
    mlp_ratio: float = 2.0
    """Hidden channels of a block's MLP / its channels."""
    qkv_bias: bool = True
    """Whether the query, key and value projections have a bias."""
    qk_scale: float | None = None
    """Factor on query . key; None for (channels per head) ** -0.5."""
    drop_path_rate: float = 0.2
    """Stochastic depth rate of the last block; rates rise linearly from 0. In training only."""
    pa_frames: int = 2
    """Neighbours aligned by parallel warping in both directions together: 0 (interpolation), 2, 4 or 6."""
    deformable_groups: int = 16
    """Offset groups of the deformable convolution."""
    nonblind_denoising: bool = False
    """Whether the input has one more channel, a noise level map (sigma / 255)."""
    flow_channels: tuple[int, ...] = (32, 64, 32, 16)
    """Hidden channels of one SpyNet level; the published ones by default."""
    head_channels: int = 64
    """Channels in which frames are enlarged or interpolated; the published number by default."""
    middle_flow: bool = False
    """Whether an interpolation network first warps its frames to the midpoint; the published one does not."""
    shutters: tuple[float, ...] = ()
    """Deblurring: candidate exposure times, in frames. Frames are deconvolved along the motion for each of them, and
    the network adds to a blend of the results; the published networks do not."""
    prior_step_px: int = 0
    """Denoising: spacing of the blocks of the frequency prior, in pixels; 0 for none. Flows are estimated on the
    prior's frames, and the network adds to them; the published networks do without. With empty ``depths``, the prior is
    the whole network."""
    group_passes: int = 0
    """Denoising: passes of the group filter, the last step; 0 for none. For networks with a frequency prior; the
    published networks do without."""

    def __post_init__(self) -> None:
        """Convert lists to tuples and reject impossible sizes."""
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        self._check_ranges()
        groups = len(self.depths)
        for name in ("embed_dims", "num_heads"):
            if len(getattr(self, name)) != groups:
                raise InputError(
                    f"{name} has {len(getattr(self, name))} entries, depths has {groups}: give one for each"
                )
        if groups <= NUM_SCALED_STAGES and not (self.prior_step_px and not groups):
            raise InputError(f"depths has {groups} entries: 7 for stages 1-7 and at least one for stage 8 are needed")
        if self.pa_frames not in (0, 2, 4, 6):
            raise InputError(f"pa_frames ({self.pa_frames}) must be 0, 2, 4 or 6 neighbouring frames")
        if self.upscale != 3 and (self.upscale < 1 or self.upscale & (self.upscale - 1)):
            raise InputError(f"upscale ({self.upscale}) must be 3 or a power of two")
        if self.pa_frames == 0 and self.upscale != 1:
            raise InputError(
                f"pa_frames (0) makes an interpolation network, whose upscale must be 1, not {self.upscale}"
            )
        if self.middle_flow and (self.pa_frames or self.img_size[0] % 2):
            raise InputError(
                f"middle_flow is for networks that interpolate (pa_frames 0) between an even number of frames, not for "
                f"pa_frames {self.pa_frames} and {self.img_size[0]} frames"
            )
        if any(shutter <= 0 or shutter > 1 for shutter in self.shutters):
            raise InputError(f"shutters ({self.shutters}) must be above 0 and at most 1 frame")
        if self.shutters and (not self.pa_frames or self.upscale != 1):
            raise InputError(
                f"shutters are for networks that align frames by optical flow (pa_frames 2 or more) and keep their "
                f"size (upscale 1), not for pa_frames {self.pa_frames} and upscale {self.upscale}"
            )
        self._check_filters()
        for dim, heads in zip(self.embed_dims, self.num_heads, strict=True):
            if dim % heads or dim % 4:
                raise InputError(f"embed_dims ({dim} channels) must be multiples of 4 and of num_heads ({heads})")
        if self.uses_flows and (self.embed_dims[0] * self.num_hops) % self.deformable_groups:
            raise InputError(
                f"deformable_groups ({self.deformable_groups}) must divide the {self.embed_dims[0] * self.num_hops} "
                f"channels of the {self.num_hops} frames aligned in one direction"
            )
        if self.uses_flows and self.deformable_groups % self.num_hops:
            raise InputError(
                f"deformable_groups ({self.deformable_groups}) must be a multiple of pa_frames / 2 ({self.num_hops})"
            )

    def _check_filters(self) -> None:
        """Raise InputError if frequency prior or group filter do not fit the network."""
        if self.prior_step_px not in (0, 1, 2, 3, 4, 6, 12):
            raise InputError(f"prior_step_px ({self.prior_step_px}) must be 0 (no prior), 1, 2, 3, 4, 6 or 12 px")
        can_have_prior = self.nonblind_denoising and self.pa_frames and self.upscale == 1 and self.in_chans == 3
        if self.prior_step_px and (not can_have_prior or self.shutters):
            raise InputError(
                f"prior_step_px ({self.prior_step_px} px) is for networks that denoise RGB frames (in_chans 3) with a "
                f"noise level map, align them by optical flow (pa_frames 2 or more), keep their size (upscale 1) and "
                f"have no shutters"
            )
        if self.group_passes and not self.prior_step_px:
            raise InputError(f"group_passes ({self.group_passes}) are for networks with a frequency prior")

    def _check_ranges(self) -> None:
        """Raise InputError if a value has another type than its field, or is out of its range."""
        for name, allowed in _RANGES.items():
            _check_range(name, getattr(self, name), allowed)
        if self.qk_scale is not None:
            _check_range("qk_scale", self.qk_scale, _Range(float, 0, 1000))
        if sum(self.depths) > _MAX_BLOCKS:
            raise InputError(f"depths has {sum(self.depths)} blocks in all, at most {_MAX_BLOCKS} are possible")
        if math.prod(self.window_size) > _MAX_WINDOW_TOKENS:
            raise InputError(f"window_size ({self.window_size}) must have at most {_MAX_WINDOW_TOKENS} tokens")

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> VRTConfig:
        """Return the config with these fields; lists are converted to tuples.

        Raises:
            InputError: If a name is unknown or a size impossible.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(config) - known):
            raise InputError(f"unknown network setting {unknown[0]!r}: known are {', '.join(sorted(known))}")
        return cls(**config)

    @property
    def num_hops(self) -> int:
        """Neighbours aligned to a frame from each direction."""
        return self.pa_frames // 2

    @property
    def uses_flows(self) -> bool:
        """Whether frames are aligned by optical flow; interpolation networks do without, and the prior alone."""
        return bool(self.pa_frames and self.depths)

    @property
    def interpolates(self) -> bool:
        """Whether the network computes new frames between its input frames instead of restoring them."""
        return self.pa_frames == 0


def _check_range(name: str, value: object, allowed: _Range) -> None:
    kind = {int: "a whole number", float: "a number", bool: "true or false"}[allowed.kind]
    rule = kind if allowed.kind is bool else f"{kind} from {allowed.min} to {allowed.max}"
    entries: tuple[object, ...] = (value,)
    if allowed.entries is not None:
        low, high = allowed.entries
        if not isinstance(value, tuple) or not low <= len(value) <= high:
            count = f"{low}" if low == high else f"{low} to {high}"
            raise InputError(f"{name} ({short_repr(value)}) must be a list of {count} entries, each {rule}")
        entries = value
    for entry in entries:
        fits = isinstance(entry, (int, float) if allowed.kind is float else allowed.kind)
        if not fits or isinstance(entry, bool) != (allowed.kind is bool) or not allowed.min <= entry <= allowed.max:  # type: ignore[operator]
            raise InputError(f"{name} ({short_repr(entry)}) must be {rule}")
