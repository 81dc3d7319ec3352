"""Degradations: what turns a clean clip into the network's input."""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def add_noise(clip: Tensor, sigma_255: float, generator: torch.Generator | None = None) -> Tensor:
    """Add Gaussian noise and append the noise level as a fourth channel, as the denoising network reads it.

    Args:
        clip: (..., T, 3, H, W) around [0, 1].
        sigma_255: Standard deviation of the noise in 8-bit steps.
        generator: Source of randomness.

    Returns:
        (..., T, 4, H, W), not clipped; channel 3 is sigma / 255.
    """
    noise_level = sigma_255 / 255
    noisy = clip + noise_level * torch.randn(clip.shape, generator=generator)
    return torch.cat([noisy, torch.full_like(clip[..., :1, :, :], noise_level)], dim=-3)


def shrink(clip: Tensor, factor: int) -> Tensor:
    """Make frames smaller by antialiased bicubic filtering, as MATLAB's ``imresize`` does.

    Args:
        clip: (..., H, W), sizes that are multiples of ``factor``.
        factor: 2 or more.

    Returns:
        (..., H / factor, W / factor), not clipped.
    """
    H, W = clip.shape[-2:]
    if H % factor or W % factor:
        raise ValueError(f"clip is {H}x{W} px; height and width must be multiples of the factor, {factor}")
    return _resize(clip, H // factor, W // factor)


def blur_down(clip: Tensor, factor: int, sigma_px: float = 1.6) -> Tensor:
    """Blur frames (..., H, W) with a Gaussian and keep the first of every ``factor`` pixels, in both directions."""
    reach = math.ceil(4 * sigma_px)
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2))
    kernel = (line / line.sum())[None, None, :, None]
    frames = clip.reshape(-1, 1, *clip.shape[-2:])
    frames = F.conv2d(F.pad(frames, (0, 0, reach, reach), mode="reflect"), kernel)
    frames = F.conv2d(F.pad(frames, (reach, reach, 0, 0), mode="reflect"), kernel.mT)
    return frames[..., ::factor, ::factor].reshape(*clip.shape[:-2], *(-(-n // factor) for n in clip.shape[-2:]))


def enlarge(clip: Tensor, factor: int) -> Tensor:
    """Make frames larger by bicubic interpolation (a = -0.5): (..., H, W) -> (..., factor * H, factor * W)."""
    return _resize(clip, factor * clip.shape[-2], factor * clip.shape[-1])


def round_to_8bit(clip: Tensor) -> Tensor:
    """Clip to [0, 1] and round to the 256 levels of a file."""
    return (clip.clamp(0, 1) * 255).round() / 255


def _resize(clip: Tensor, height: int, width: int) -> Tensor:
    rows = torch.from_numpy(_cubic_matrix(clip.shape[-2], height))
    columns = torch.from_numpy(_cubic_matrix(clip.shape[-1], width))
    return rows @ clip @ columns.mT


@cache
def _cubic_matrix(size: int, new_size: int) -> np.ndarray:
    """Return the weights of the old pixels in each new one, (new_size, size); mirrored at the ends."""
    ratio = size / new_size
    width = max(ratio, 1.0)  # of the kernel: stretched when shrinking, which keeps frequencies from folding over
    matrix = np.zeros((new_size, size), dtype=np.float32)
    for i in range(new_size):
        centre = (i + 0.5) * ratio - 0.5
        taps = np.arange(np.floor(centre - 2 * width), np.ceil(centre + 2 * width) + 1, dtype=int)
        weights = _cubic(np.abs(taps - centre) / width)
        mirrored = taps % (2 * size)
        np.add.at(matrix[i], np.minimum(mirrored, 2 * size - 1 - mirrored), weights / weights.sum())
    return matrix


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with a = -0.5, at distances x >= 0."""
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
