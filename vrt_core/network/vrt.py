"""VRT, the Video Restoration Transformer (Liang et al., arXiv:2201.12288): the whole network (figure 2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from . import ops
from .config import NUM_SCALED_STAGES, VRTConfig
from .extensions.frequency_prior import FrequencyPrior
from .extensions.group_filter import GroupFilter
from .extensions.midpoint_flow import warp_to_midpoint
from .extensions.motion_deconvolution import MotionDeconvolution
from .flow import FlowPyramid, Flows
from .heads import FrameConv, Upsample, interpolate, super_resolve
from .ops import Linear, chunking
from .padding import mirror_pad, padded_size
from .spynet import SpyNet
from .stages import NormLinear, ResidualGroup, Stage
from .tmsa import OnBlock, WindowAttention
from .warping import warp_neighbours

_FLOAT32_PARTS = ("spynet", "deconvolution", "prior", "group_filter")
_LEVELS = (0, 1, 2, 3, 2, 1, 0)
_RESHAPES = ("none", "down", "down", "down", "up", "up", "up")


class VRT(nn.Module):
    """The network of the paper, with the parameter names of the released weights and without buffers."""

    size_multiple_px = 8
    """H and W are padded to a multiple of this: stage 4 works at scale 1/8."""
    stage1: Stage
    stage2: Stage
    stage3: Stage
    stage4: Stage
    stage5: Stage
    stage6: Stage
    stage7: Stage
    uses_flows: bool
    """Whether frames are aligned by optical flow."""

    def __init__(self, config: VRTConfig) -> None:
        super().__init__()
        self.config = config
        self.uses_flows = config.uses_flows
        if config.prior_step_px:
            self.prior = FrequencyPrior(config.prior_step_px)
        if config.group_passes:
            self.group_filter = GroupFilter(config.group_passes)
        if not config.depths:
            return
        dim, body_dim = config.embed_dims[0], config.embed_dims[-1]
        rates = _drop_path_rates(config)

        c_in = config.nonblind_denoising  # noise level map
        c_in += config.in_chans * (9 if self.uses_flows else 2 if config.middle_flow else 1)  # frames and warped frames
        if config.shutters:
            self.deconvolution = MotionDeconvolution(config.shutters)
            c_in += config.in_chans * (1 + self.deconvolution.num_estimates)
        c_in += config.in_chans * bool(config.prior_step_px)
        self.conv_first = FrameConv(c_in, dim)
        if self.uses_flows or config.middle_flow:
            self.spynet = SpyNet(config.flow_channels)
        for i, (level, reshape) in enumerate(zip(_LEVELS, _RESHAPES, strict=True)):
            self.add_module(f"stage{i + 1}", Stage(config, i, level, reshape, rates[i]))
        groups: list[nn.Module] = [NormLinear(dim, body_dim)]
        for i in range(NUM_SCALED_STAGES, len(config.depths)):
            window = (1, *config.window_size[1:]) if i in config.indep_reconsts else config.window_size
            groups.append(ResidualGroup(config, i, window, rates[i]))
        self.stage8 = nn.ModuleList(groups)
        self.norm = nn.LayerNorm(body_dim)
        self.conv_after_body = Linear(body_dim, dim)

        if config.interpolates:
            self.linear_fuse = nn.Conv2d(config.img_size[0] * dim, config.head_channels, 1)
            self.conv_last = nn.Conv2d(config.head_channels, config.out_chans, 7)
        elif config.upscale == 1:
            self.conv_last = FrameConv(dim, config.out_chans)
        else:
            self.conv_before_upsample = nn.ModuleDict({"0": FrameConv(dim, config.head_channels)})
            self.upsample = Upsample(config.head_channels, config.upscale)
            self.conv_last = FrameConv(config.head_channels, config.out_chans)
        self.apply(_initialise)

    @property
    def min_size_px(self) -> int:
        """Smallest H and W: a window must fit at scale 1/8, where mutual attention compares frames by position."""
        return self.size_multiple_px * (max(self.config.window_size[1:]) if self.config.depths else 1)

    @property
    def num_input_frames(self) -> int | None:
        """Frames that an interpolation network takes at a time; None for networks that restore any number."""
        return self.config.img_size[0] if self.config.interpolates else None

    @ops.with_pass_backend
    def forward(self, clip: Tensor, flows: Flows | None = None, *, on_block: OnBlock = None) -> Tensor:
        """Restore, enlarge or interpolate a clip.

        Any size is accepted: frames are mirrored (edge pixel repeated) at the bottom and right to what the network
        needs, a lone frame is repeated, and the result is cropped.

        Args:
            clip: RGB in [0, 1], (N, T, C, H, W); C is 3, or 4 with the noise level (sigma / 255) last. A network with
                a frequency prior also takes the 7 channels of ``append_prior``, and leaves ``filter_groups`` to the
                caller then.
            flows: Flows between neighbouring frames, if known; H and W must then fit the network without padding.
            on_block: Called before every block; an exception ends the pass.

        Returns:
            (N, T, 3, sH, sW) float32. Interpolation: a new frame in the middle of every run of input frames (four:
            between the second and the third), (N, max(T - 3, 1), 3, H, W); a shorter clip is extended at its ends.

        Raises:
            InputError: If rank or channels do not fit, or flows are given for a size that needs padding.
        """
        channels = self.config.in_chans + self.config.nonblind_denoising
        accepted = {channels, channels + self.config.in_chans} if self.config.prior_step_px else {channels}
        if clip.ndim != 5 or clip.shape[2] not in accepted or 0 in clip.shape:
            expected = " or ".join(f"(N, T, {count}, H, W)" for count in sorted(accepted))
            raise InputError(f"clip has shape {tuple(clip.shape)}, expected {expected}, none of them 0")
        _, T, _, H, W = clip.shape
        clip = clip.float()  # flows, sampling and the frames themselves stay in float32 whatever the weights are in
        padded = self._pad(clip, on_block)
        if flows is not None and (padded.shape[1], *padded.shape[3:]) != (T, H, W):
            raise InputError(
                f"flows were given with a clip of {T} frames of {H}x{W} px; it must have at least 2 frames then, and "
                f"sizes of at least {self.min_size_px} px in multiples of {self.size_multiple_px} px"
            )
        if self.config.interpolates:
            return self._interpolate(padded, on_block)[..., :H, :W]
        scale = self.config.upscale
        restored = self._restore(padded, flows, on_block) if self.config.depths else self.flow_frames(padded)
        restored = restored[:, :T, :, : scale * H, : scale * W]
        return self.filter_groups(clip, restored, on_block) if clip.shape[2] == channels else restored

    @ops.with_pass_backend
    def flows(self, a: Tensor, b: Tensor) -> FlowPyramid:
        """Return flow_a_to_b of frames (N, 3, H, W): four levels, level i (N, 2, H / 2^i, W / 2^i) float32."""
        return self.spynet(a, b)

    @ops.with_pass_backend
    def append_prior(self, clip: Tensor, on_block: OnBlock = None) -> Tensor:
        """Return a clip with the prior's estimate of its frames as last channels; the clip itself without a prior.

        Args:
            clip: (N, T, 4, H, W) float32, the noise level last.
            on_block: Called before every chunk of blocks of the prior; an exception ends the pass.

        Returns:
            (N, T, 7, H, W).
        """
        if not self.config.prior_step_px:
            return clip
        channels = self.config.in_chans
        return torch.cat((clip, self.prior(clip[:, :, :channels], clip[:, :, channels:], on_block)), dim=2)

    @ops.with_pass_backend
    def filter_groups(self, clip: Tensor, restored: Tensor, on_block: OnBlock = None) -> Tensor:
        """Return restored frames after the group filter; the frames themselves without one.

        Args:
            clip: (N, T, C, H, W) float32, C at least 4: RGB, then the noise level.
            restored: (N, T, 3, H, W) float32.
            on_block: Called before every chunk of groups; an exception ends the pass.

        Returns:
            (N, T, 3, H, W) float32.
        """
        if not self.config.group_passes:
            return restored
        channels = self.config.in_chans
        return self.group_filter(clip[:, :, :channels], restored, clip[:, :, channels : channels + 1], on_block)

    def flow_frames(self, clip: Tensor) -> Tensor:
        """Return the frames (..., 3, H, W) that flows are estimated on: the prior's, where ``clip`` has them."""
        channels = self.config.in_chans
        start = channels + 1 if self.config.prior_step_px and clip.shape[-3] > channels + 1 else 0
        return clip[..., start : start + channels, :, :]

    def clip_flows(self, clip: Tensor) -> Flows:
        """Return the flows between all neighbours of a clip (N, T, C, H, W), T >= 2; C as ``forward`` takes it."""
        clip = self.flow_frames(clip)
        N, T = clip.shape[:2]
        frames, successors = clip[:, :-1].flatten(0, 1), clip[:, 1:].flatten(0, 1)  # (N * (T-1), 3, H, W)
        backward = tuple(flow.unflatten(0, (N, T - 1)) for flow in self.flows(frames, successors))
        forward = tuple(flow.unflatten(0, (N, T - 1)) for flow in self.flows(successors, frames))
        return backward, forward

    def to_precision(self, dtype: torch.dtype) -> VRT:
        """Cast the weights to ``dtype`` and return self.

        SpyNet, motion deconvolution, frequency prior and group filter stay in float32: flows are positions, spectra
        and covariances have a wide range.
        """
        for name, child in self.named_children():
            child.to(torch.float32 if name in _FLOAT32_PARTS else dtype)
        return self

    def _restore(self, clip: Tensor, flows: Flows | None, on_block: OnBlock) -> Tensor:
        """Restore a padded clip (N, T, C, H, W): (N, T, 3, sH, sW)."""
        flows = self.clip_flows(clip) if flows is None else flows
        x, base = self._first_features(clip, flows[0][0], flows[1][0])
        x = ops.add_(self._features(x, flows, on_block), x)  # (N, T, C, H, W)
        return base + self.conv_last(x) if self.config.upscale == 1 else self._enlarge(x, base)

    def _first_features(self, clip: Tensor, backward: Tensor, forward: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of ``conv_first``, and the frames that the network's output is added to.

        Args:
            clip: Frames, (N, T, C, H, W): RGB, noise level map and the prior's frames, if the network has them.
            backward: flow(t, t+1), (N, T-1, 2, H, W).
            forward: flow(t+1, t), likewise.
        """
        channels = self.config.in_chans
        rgb, noise_level = clip[:, :, :channels], clip[:, :, channels : channels + self.config.nonblind_denoising]
        inputs, base = [rgb, warp_neighbours(rgb, backward, forward), noise_level], self.flow_frames(clip)
        if self.config.prior_step_px:
            inputs.append(rgb - base)
        if self.config.shutters:
            inputs.append(self.deconvolution(rgb, backward, forward))
            base = rgb + inputs[-1][:, :, : rgb.shape[2]]
        return self.conv_first(torch.cat([x.to(self.conv_first.weight.dtype) for x in inputs], dim=2)), base

    def _features(self, x: Tensor, flows: Flows | None, on_block: OnBlock) -> Tensor:
        """Return the features of all stages for those of ``conv_first``, both (N, T, C, H, W)."""
        x = x.movedim(2, -1)  # (N, T, H, W, C) from here on
        x1 = self.stage1(x, flows, on_block)
        x2 = self.stage2(x1, flows, on_block)
        x3 = self.stage3(x2, flows, on_block)
        x = self.stage4(x3, flows, on_block)
        x = self.stage5(x, flows, on_block)
        x = x + x3
        x = self.stage6(x, flows, on_block)
        x = x + x2
        x = self.stage7(x, flows, on_block)
        x = x + x1
        del x1, x2, x3
        widen, *groups = self.stage8
        x = widen(x)
        for group in groups:
            x = group(x, on_block)
        return self.conv_after_body(self.norm(x)).movedim(-1, 2)

    def _enlarge(self, x: Tensor, rgb: Tensor) -> Tensor:
        """Enlarge frames (N, T, 3, H, W) by their features (N, T, C, H, W), frame by frame: output frames are large."""
        N, T, _, H, W = rgb.shape
        features, frames = x.flatten(0, 1), rgb.flatten(0, 1)  # (N * T, ...)
        assert isinstance(self.conv_last, FrameConv)
        layers = self.conv_before_upsample["0"], self.upsample, self.conv_last
        frame_bytes = chunking.enlarged_frame_bytes(
            self.config.head_channels, self.config.upscale, H * W, x.element_size()
        )
        enlarged = chunking.map_chunks(
            lambda start, stop: super_resolve(features[start:stop], frames[start:stop], *layers),
            N * T,
            frame_bytes,
            x.device,
            dim=0,
        )
        return enlarged.unflatten(0, (N, T))  # (N, T, 3, sH, sW)

    def warp_to_midpoint(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Warp frames (N, T, C, H, W) to their midpoint; see ``extensions.midpoint_flow.warp_to_midpoint``."""
        return warp_to_midpoint(self.spynet, frames)

    def restore_midpoint(self, frames: Tensor, base: Tensor, mean: Tensor, on_block: OnBlock = None) -> Tensor:
        """Return the frame at the midpoint, (N, 3, H, W), as ``base`` plus a residual.

        Args:
            frames: As many as the network takes, padded: (N, T, C, H, W), or (N, T, 2*C, H, W) of ``warp_to_midpoint``.
            base: (N, C, H or 1, W or 1).
            mean: Subtracted from the frames, (N, 1, C, 1, 1).
            on_block: Called before every block; an exception ends the pass.
        """
        mean = mean.repeat(1, 1, frames.shape[2] // mean.shape[2], 1, 1)
        x = self.conv_first((frames - mean).to(self.conv_first.weight.dtype))  # (N, T, C, H, W)
        x = x + self._features(x, None, on_block)
        return interpolate(x, self.linear_fuse, self.conv_last) + base

    def _interpolate(self, clip: Tensor, on_block: OnBlock) -> Tensor:
        """Return the midpoint of every run of input frames of a padded clip, (N, runs, 3, H, W)."""
        count = self.config.img_size[0]
        out = []
        for start in range(clip.shape[1] - count + 1):
            frames = clip[:, start : start + count]
            mean = frames.mean(dim=(1, 3, 4), keepdim=True)
            base = mean[:, 0]
            if self.config.middle_flow:
                frames, base, _ = self.warp_to_midpoint(frames)
            out.append(self.restore_midpoint(frames, base, mean, on_block))
        return torch.stack(out, dim=1)

    def _pad(self, clip: Tensor, on_block: OnBlock) -> Tensor:
        """Mirror a clip (N, T, C, H, W) to a size that the network takes, and append the prior if it is missing."""
        for dim in (3, 4):
            clip = mirror_pad(clip, dim, padded_size(clip.shape[dim], self.size_multiple_px, self.min_size_px))
        if clip.shape[2] == self.config.in_chans + 1:  # before frames are repeated, whose noise would pass for signal
            clip = self.append_prior(clip, on_block)
        T = clip.shape[1]
        if not self.config.interpolates:
            return mirror_pad(clip, 1, max(T, 2))
        missing = max(self.config.img_size[0] - T, 0)  # frames, added at both ends
        index = torch.arange(-((missing + 1) // 2), T + missing // 2, device=clip.device).clamp(0, T - 1)
        return clip.index_select(1, index) if missing else clip


def _drop_path_rates(config: VRTConfig) -> list[list[float]]:
    """Return the stochastic depth rate of each block of each group, rising linearly from 0 over all blocks."""
    total = sum(config.depths)
    rates = [config.drop_path_rate * i / max(total - 1, 1) for i in range(total)]
    starts = [sum(config.depths[:i]) for i in range(len(config.depths))]
    return [rates[start : start + depth] for start, depth in zip(starts, config.depths, strict=True)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.normal_(module.relative_position_bias_table, std=0.02)


def build_network(**config: Any) -> VRT:
    """Build a VRT network in eval mode, with random weights.

    Args:
        **config: Fields of ``VRTConfig``; lists are converted to tuples.

    Raises:
        InputError: If a name is unknown or a size impossible.
    """
    return VRT(VRTConfig.from_mapping(config)).eval()
