"""VRT, the Video Restoration Transformer (Liang et al., arXiv:2201.12288): the whole network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .config import NUM_SCALED_STAGES, VRTConfig
from .extensions.midpoint_flow import warp_to_middle
from .extensions.motion_deconvolution import MotionDeconvolution
from .flow import Pyramid, SpyNet
from .heads import Enlarge, FrameConv, InterpolationHead
from .ops.chunking import add_to, items_at_a_time
from .ops.linear import Linear
from .ops.onednn import quick_products
from .stages import Check, NormLinear, ResidualGroup, Stage
from .tmsa import WindowAttention
from .warping import warp_neighbours

_LEVELS = (0, 1, 2, 3, 2, 1, 0)
_RESHAPES = ("none", "down", "down", "down", "up", "up", "up")
Flows = tuple[Pyramid, Pyramid]
"""Backward and forward flows between neighbours: four levels each, level i (N, T-1, 2, H / 2^i, W / 2^i), float32."""


class VRT(nn.Module):
    """The network of the paper, with the parameter names of the released weights and no buffers."""

    size_multiple_px = 8
    """H and W are padded to a multiple of this: stage 4 works at 1/8."""
    stage1: Stage
    stage2: Stage
    stage3: Stage
    stage4: Stage
    stage5: Stage
    stage6: Stage
    stage7: Stage
    uses_flows: bool
    """Whether frames are aligned by optical flow; interpolation networks do without."""

    def __init__(self, config: VRTConfig) -> None:
        super().__init__()
        self.config = config
        self.uses_flows = config.pa_frames > 0
        dim, body_dim = config.embed_dims[0], config.embed_dims[-1]
        rates = _drop_path_rates(config)

        seen = 9 if self.uses_flows else 2 if config.middle_flow else 1  # frames, warped ones counted
        c_in = config.in_chans * seen + config.nonblind_denoising
        if config.shutters:
            self.deconvolution = MotionDeconvolution(config.shutters)
            c_in += config.in_chans * (1 + self.deconvolution.num_guesses)
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
            head = InterpolationHead(config.img_size[0] * dim, config.head_channels, config.out_chans)
            self.linear_fuse, self.conv_last = head.linear_fuse, head.conv_last
            self._head = [head]  # in a list, so that its parameters keep their published names
        elif config.upscale == 1:
            self.conv_last = FrameConv(dim, config.out_chans)
        else:
            self.conv_before_upsample = nn.ModuleDict({"0": FrameConv(dim, config.head_channels)})
            self.upsample = Enlarge(config.head_channels, config.upscale)
            self.conv_last = FrameConv(config.head_channels, config.out_chans)
        self.apply(_initialise)

    @property
    def min_size_px(self) -> int:
        """Least H and W: at 1/8 a window must fit, for mutual attention compares two frames position by position."""
        return self.size_multiple_px * max(self.config.window_size[1:])

    @property
    def num_input_frames(self) -> int | None:
        """Frames that an interpolation network takes at a time; None for networks that restore any number."""
        return self.config.img_size[0] if self.config.interpolates else None

    def forward(self, clip: Tensor, flows: Flows | None = None, *, check: Check = None) -> Tensor:
        """Restore, enlarge or interpolate a clip.

        Any size is accepted: frames are mirrored (edge pixel repeated) at the bottom and right to what the network
        needs, a lone frame is repeated, and the result is cropped.

        Args:
            clip: RGB in [0, 1], (N, T, C, H, W); C is 3, or 4 with the noise level (sigma / 255) last.
            flows: Flows between neighbouring frames, if known; H and W must then fit the network as they are.
            check: Called before every block; what it raises ends the pass.

        Returns:
            (N, T, 3, sH, sW) float32. Interpolation: a new frame in the middle of every run of frames that the network
            takes (four: between the second and the third), (N, max(T - 3, 1), 3, H, W); a shorter clip is extended at
            its ends.

        Raises:
            InputError: If rank or channels do not fit, or flows come with a size that needs padding.
        """
        channels = self.config.in_chans + self.config.nonblind_denoising
        if clip.ndim != 5 or clip.shape[2] != channels or 0 in clip.shape:
            raise InputError(f"clip has shape {tuple(clip.shape)}, expected (N, T, {channels}, H, W), none of them 0")
        T, H, W = clip.shape[1], *clip.shape[3:]
        clip = clip.float()  # flows, sampling and the frame itself stay in float32 whatever the weights are in
        padded = self._pad(clip)
        if flows is not None and padded.shape != clip.shape:
            raise InputError(
                f"flows were given with a clip of {T} frames of {H}x{W} px; it must have at least 2 frames then, and "
                f"sizes of at least {self.min_size_px} px in multiples of {self.size_multiple_px} px"
            )
        with quick_products(clip):
            out = self._interpolate(padded, check) if self.config.interpolates else self._restore(padded, flows, check)
        scale = self.config.upscale
        return out[:, : out.shape[1] if self.config.interpolates else T, :, : scale * H, : scale * W]

    def flows(self, a: Tensor, b: Tensor) -> Pyramid:
        """Return flow_a_to_b of frames (N, 3, H, W): four levels, level i (N, 2, H / 2^i, W / 2^i) float32."""
        with quick_products(a):
            return self.spynet(a, b)

    def clip_flows(self, clip: Tensor) -> Flows:
        """Return the flows between all neighbours of a clip (N, T, 3, H, W), T >= 2."""
        N, T = clip.shape[:2]
        these, those = clip[:, :-1].flatten(0, 1), clip[:, 1:].flatten(0, 1)
        found = [
            tuple(f.unflatten(0, (N, T - 1)) for f in self.flows(*pair)) for pair in ((these, those), (those, these))
        ]
        return found[0], found[1]

    def to_precision(self, dtype: torch.dtype) -> VRT:
        """Convert the weights to ``dtype``, those that say where to look excepted, and return self."""
        for name, child in self.named_children():
            child.to(torch.float32 if name in ("spynet", "deconvolution") else dtype)
        return self

    def _restore(self, clip: Tensor, flows: Flows | None, check: Check) -> Tensor:
        rgb, noise_level = clip[:, :, : self.config.in_chans], clip[:, :, self.config.in_chans :]
        flows = self.clip_flows(rgb) if flows is None else flows
        x, base = self._first_features(rgb, noise_level, flows[0][0], flows[1][0])
        x = add_to(self._features(x, flows, check), x)
        if self.config.upscale == 1:
            return base + self.conv_last(x)
        # frame by frame: at the output's size, one frame is large enough
        N, T = x.shape[:2]
        frames, low = x.flatten(0, 1), rgb.flatten(0, 1)
        large_bytes = low[0, 0].numel() * self.config.upscale**2 * self.config.head_channels * x.element_size()
        step = items_at_a_time(2 * large_bytes, x.device)
        return torch.cat(
            [self._enlarge(frames[i : i + step], low[i : i + step]) for i in range(0, N * T, step)]
        ).unflatten(0, (N, T))

    def _first_features(
        self, rgb: Tensor, noise_level: Tensor, backward: Tensor, forward: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the features of ``conv_first``, and the frames that the network's output is added to."""
        seen, base = [rgb, warp_neighbours(rgb, backward, forward), noise_level], rgb
        if self.config.shutters:
            seen.append(self.deconvolution(rgb, backward, forward))
            base = rgb + seen[-1][:, :, : rgb.shape[2]]
        return self.conv_first(torch.cat([x.to(self.conv_first.weight.dtype) for x in seen], dim=2)), base

    def _enlarge(self, x: Tensor, low: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv_before_upsample["0"](x), 0.01, inplace=True)
        base = F.interpolate(low, scale_factor=self.config.upscale, mode="bilinear", align_corners=False)
        return self.upsample(x, self.conv_last) + base

    def to_middle(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Warp frames (N, T, C, H, W) to the moment in the middle of them; see ``warp_to_middle``."""
        return warp_to_middle(self.spynet, frames)

    def fill_middle(self, frames: Tensor, base: Tensor, mean: Tensor, check: Check = None) -> Tensor:
        """Return the frame in the middle, (N, 3, H, W), as a change of ``base``.

        Args:
            frames: As many as the network takes, padded: (N, T, C, H, W), or (N, T, 2*C, H, W) of ``to_middle``.
            base: (N, C, H or 1, W or 1).
            mean: What to take off the frames, (N, 1, C, 1, 1).
            check: Called before every block; what it raises ends the pass.
        """
        mean = mean.repeat(1, 1, frames.shape[2] // mean.shape[2], 1, 1)
        x = self.conv_first((frames - mean).to(self.conv_first.weight.dtype))
        x = x + self._features(x, None, check)
        return self._head[0](x) + base

    def _interpolate(self, clip: Tensor, check: Check) -> Tensor:
        count = self.config.img_size[0]
        out = []
        for start in range(clip.shape[1] - count + 1):
            frames = clip[:, start : start + count]
            mean = frames.mean(dim=(1, 3, 4), keepdim=True)
            base = mean[:, 0]
            if self.config.middle_flow:
                frames, base, _ = self.to_middle(frames)
            out.append(self.fill_middle(frames, base, mean, check))
        return torch.stack(out, dim=1)

    def _features(self, x: Tensor, flows: Flows | None, check: Check) -> Tensor:
        """Return the features of all stages for those of ``conv_first``, both (N, T, C, H, W)."""
        x = x.movedim(2, -1)  # (N, T, H, W, C) from here on
        x1 = self.stage1(x, flows, check)
        x2 = self.stage2(x1, flows, check)
        x3 = self.stage3(x2, flows, check)
        x = self.stage4(x3, flows, check)
        x = self.stage5(x, flows, check)
        x = x + x3
        x = self.stage6(x, flows, check)
        x = x + x2
        x = self.stage7(x, flows, check)
        x = x + x1
        del x1, x2, x3
        widen, *groups = self.stage8
        x = widen(x)
        for group in groups:
            x = group(x, check)
        return self.conv_after_body(self.norm(x)).movedim(-1, 2)

    def _pad(self, clip: Tensor) -> Tensor:
        """Mirror a clip to a size that the network takes."""
        least, multiple = self.min_size_px, self.size_multiple_px
        for dim in (3, 4):
            size = clip.shape[dim]
            clip = _mirror(clip, dim, max(-(-size // multiple) * multiple, least))
        T = clip.shape[1]
        if self.config.interpolates:
            missing = max(self.config.img_size[0] - T, 0)
            index = torch.arange(-((missing + 1) // 2), T + missing // 2, device=clip.device).clamp(0, T - 1)
            return clip.index_select(1, index) if missing else clip
        return _mirror(clip, 1, max(T, 2))


def _mirror(x: Tensor, dim: int, size: int) -> Tensor:
    """Extend ``x`` at the end of ``dim`` by reflection, the edge repeated, as often as it takes."""
    n = x.shape[dim]
    if size == n:
        return x
    index = torch.arange(size, device=x.device) % (2 * n)
    return x.index_select(dim, torch.minimum(index, 2 * n - 1 - index))


def _drop_path_rates(config: VRTConfig) -> list[list[float]]:
    """Return a rate for each block, rising evenly from 0 over all blocks."""
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
        **config: Sizes, as ``VRTConfig`` names them; lists are taken for tuples.

    Raises:
        InputError: If a name is unknown or a size impossible.
    """
    return VRT(VRTConfig.from_mapping(config)).eval()
