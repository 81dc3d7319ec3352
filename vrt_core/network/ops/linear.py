"""Linear layers: F.linear, or on a CPU the same product as a 1x1 convolution by oneDNN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mode import use_reference

_MIN_IMAGES = 16
"""In one thread, torch hands 1x1 convolutions to oneDNN only from this batch size on."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ weight.T + bias, (..., C_out), for ``x`` (..., C_in).

    On a CPU in float32 it runs as a 1x1 convolution: torch computes those by oneDNN on every processor, and oneDNN adds
    the bias in the same pass. ``onednn.py`` says why oneDNN is faster.
    """
    if use_reference() or x.device.type != "cpu" or x.dtype != torch.float32 or not x.numel():
        return linear_reference(x, weight, bias)
    tokens = x.reshape(-1, x.shape[-1])  # (tokens, C_in)
    images = _MIN_IMAGES if tokens.shape[0] % _MIN_IMAGES == 0 else 1
    pixels = tokens.unflatten(0, (images, 1, -1)).permute(0, 3, 1, 2)  # (images, C_in, 1, pixels), channels last
    out = F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1)  # (images, 1, pixels, C_out)
    return out.reshape(*x.shape[:-1], -1)  # (..., C_out)


def linear_reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ weight.T + bias, (..., C_out)."""
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """``nn.Linear`` by ``linear``; the parameters are the same."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., C_in) to (..., C_out)."""
        return linear(input, self.weight, self.bias)
