"""From features back to frames: convolutions on single frames, enlargement, interpolation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FrameConv(nn.Conv3d):
    """3x3 convolution of each frame alone; stored as the published (1, 3, 3) Conv3d."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., C_in, H, W) to (..., C_out, H, W)."""
        frames = input.flatten(0, -4) if input.ndim > 4 else input
        out = F.conv2d(frames, self.weight[:, :, 0], self.bias, padding=1)
        return out.unflatten(0, input.shape[:-3]) if input.ndim > 4 else out


class Enlarge(nn.ModuleDict):
    """Pixel-shuffle enlargement; keys are the positions in the published Sequential, which counts transposes too."""

    def __init__(self, channels: int, scale: int) -> None:
        self.factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        layers = {str(5 * i): FrameConv(channels, f * f * channels) for i, f in enumerate(self.factors)}
        super().__init__({**layers, str(5 * len(self.factors)): FrameConv(channels, channels)})

    def forward(self, x: Tensor, to_frame: FrameConv) -> Tensor:
        """Map (B, C, H, W) to (B, C_out, sH, sW): enlarged, then through ``to_frame``."""
        *convs, last = self.values()
        for factor, conv in zip(self.factors, convs, strict=True):
            x = F.pixel_shuffle(F.leaky_relu(conv(x), 0.1, inplace=True), factor)
        assert isinstance(last, FrameConv)
        return convolve_twice(x, last, to_frame)


def convolve_twice(x: Tensor, first: FrameConv, second: FrameConv) -> Tensor:
    """Return second(first(x)) of frames (B, C, H, W) by one 5x5 convolution, (B, C_out, H, W).

    Nothing lies between the two, and few channels come out: together they need an eighth of the products, and the
    many channels of the first, at the size of the output, never exist. Only the outermost pixels are another sum, for
    there the second one sees zeros around the frame and not what the first would give: they are made one after the
    other.
    """
    w1, w2 = first.weight[:, :, 0], second.weight[:, :, 0]
    weight = F.conv2d(w1.transpose(0, 1), w2.flip(2, 3), padding=2).transpose(0, 1)
    assert first.bias is not None
    assert second.bias is not None
    bias = second.bias + w2.sum(dim=(2, 3)) @ first.bias
    out = F.conv2d(x, weight, bias, padding=2)
    out[..., :1, :] = second(first(x[..., :3, :]))[..., :1, :]
    out[..., -1:, :] = second(first(x[..., -3:, :]))[..., -1:, :]
    out[..., :1] = second(first(x[..., :3]))[..., :1]
    out[..., -1:] = second(first(x[..., -3:]))[..., -1:]
    return out


class InterpolationHead(nn.Module):
    """The frame between, from the features of all frames at each pixel."""

    def __init__(self, c_in: int, channels: int, c_out: int) -> None:
        super().__init__()
        self.linear_fuse = nn.Conv2d(c_in, channels, 1)
        self.conv_last = nn.Conv2d(channels, c_out, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, C, H, W) to (N, C_out, H, W)."""
        x = F.leaky_relu(self.linear_fuse(x.flatten(1, 2)), 0.2)
        return self.conv_last(F.pad(x, (3, 3, 3, 3), mode="reflect"))
