"""Linear layers, by whichever library multiplies faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_IMAGES = 16
"""Fewer images than this, in one thread, and torch does not hand a 1x1 convolution to oneDNN."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ weight.T + bias, (..., C_out), for ``x`` (..., C_in).

    On a CPU in float32, where no gradients are recorded, as a 1x1 convolution: torch leaves those to oneDNN on every
    processor, and they add the bias on the way. ``products.py`` says why that is quicker.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled() or not x.numel():
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    images = _IMAGES if rows.shape[0] % _IMAGES == 0 else 1
    pixels = rows.unflatten(0, (images, 1, -1)).permute(0, 3, 1, 2)  # (images, C_in, 1, pixels), channels last
    out = F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1)
    return out.reshape(*x.shape[:-1], -1)


class Linear(nn.Linear):
    """``nn.Linear`` through ``linear``; the same parameters."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., C_in) to (..., C_out)."""
        return linear(input, self.weight, self.bias)
