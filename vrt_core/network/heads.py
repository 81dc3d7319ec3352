"""Convolutions of single frames, and the reconstruction heads that turn features into frames."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .ops import fused_conv_pair


class FrameConv(nn.Conv3d):
    """3x3 convolution of each frame alone; stored as the published (1, 3, 3) Conv3d."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, (1, 3, 3), padding=(0, 1, 1))

    @property
    def parameters_2d(self) -> tuple[Tensor, Tensor]:
        """The weight without the time axis, (C_out, C_in, 3, 3), and the bias, (C_out,)."""
        assert self.bias is not None
        return self.weight[:, :, 0], self.bias

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., C_in, H, W) to (..., C_out, H, W)."""
        frames = input.flatten(0, -4) if input.ndim > 4 else input  # (B, C_in, H, W)
        out = F.conv2d(frames, *self.parameters_2d, padding=1)
        return out.unflatten(0, input.shape[:-3]) if input.ndim > 4 else out  # (..., C_out, H, W)


class Upsample(nn.ModuleDict):
    """Pixel-shuffle upsampling; keys are the positions in the published Sequential, which counts transposes too."""

    def __init__(self, channels: int, scale: int) -> None:
        self.scale = scale
        self.factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        layers = {str(5 * i): FrameConv(channels, f * f * channels) for i, f in enumerate(self.factors)}
        super().__init__({**layers, str(5 * len(self.factors)): FrameConv(channels, channels)})

    def shuffle(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, sH, sW): all layers but the last convolution."""
        for factor, conv in zip(self.factors, self.values(), strict=False):
            x = F.pixel_shuffle(F.leaky_relu(conv(x), 0.1, inplace=True), factor)  # (B, C, fH, fW)
        return x

    @property
    def last(self) -> FrameConv:
        """The last convolution."""
        *_, last = self.values()
        assert isinstance(last, FrameConv)
        return last


def super_resolve(
    x: Tensor, frames: Tensor, conv_before_upsample: nn.Module, upsample: Upsample, conv_last: FrameConv
) -> Tensor:
    """Return enlarged frames (B, 3, sH, sW): bilinear enlargement of ``frames`` plus a residual from the features.

    Args:
        x: Features, (B, C, H, W).
        frames: Input frames, (B, 3, H, W).
        conv_before_upsample: First layer of the head.
        upsample: The layers between.
        conv_last: Last layer of the head.
    """
    x = F.leaky_relu(conv_before_upsample(x), 0.01, inplace=True)  # (B, head channels, H, W)
    x = upsample.shuffle(x)  # (B, head channels, sH, sW)
    x = fused_conv_pair(x, upsample.last.parameters_2d, conv_last.parameters_2d)  # (B, 3, sH, sW)
    return x + F.interpolate(frames, scale_factor=upsample.scale, mode="bilinear", align_corners=False)


def interpolate(x: Tensor, linear_fuse: nn.Module, conv_last: nn.Module) -> Tensor:
    """Return the frame at the midpoint, (N, 3, H, W), from the features (N, T, C, H, W) of all frames."""
    x = x.flatten(1, 2)  # (N, T * C, H, W)
    x = F.leaky_relu(linear_fuse(x), 0.2)
    return conv_last(F.pad(x, (3, 3, 3, 3), mode="reflect"))
