"""Synthetic degradations: Gaussian noise, downscaling and rounding to 8 bits."""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrt_media.chroma import catmull_rom


def add_noise(clip: Tensor, sigma_255: float, generator: torch.Generator | None = None) -> Tensor:
    """Add Gaussian noise and append the noise level as a fourth channel, as the denoising network expects.

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
    """Downscale frames by antialiased bicubic filtering, as MATLAB's ``imresize`` does.

    Args:
        clip: (..., H, W), both multiples of ``factor``.
        factor: 2 or more.

    Returns:
        (..., H / factor, W / factor), not clipped.

    Raises:
        ValueError: If H or W is not a multiple of ``factor``.
    """
    H, W = clip.shape[-2:]
    if H % factor or W % factor:
        raise ValueError(f"clip is {H}x{W} px; height and width must be multiples of the factor, {factor}")
    return _resize(clip, H // factor, W // factor)


def blur_down(clip: Tensor, factor: int, sigma_px: float = 1.6) -> Tensor:
    """Downscale frames: Gaussian blur, then every ``factor``-th pixel; (..., H, W) -> (..., ceil(H / factor), ...)."""
    reach = math.ceil(4 * sigma_px)
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2))
    kernel = (line / line.sum())[None, None, :, None]
    frames = clip.reshape(-1, 1, *clip.shape[-2:])  # (N, 1, H, W)
    frames = F.conv2d(F.pad(frames, (0, 0, reach, reach), mode="reflect"), kernel)
    frames = F.conv2d(F.pad(frames, (reach, reach, 0, 0), mode="reflect"), kernel.mT)
    return frames[..., ::factor, ::factor].reshape(*clip.shape[:-2], *(-(-n // factor) for n in clip.shape[-2:]))


def enlarge(clip: Tensor, factor: int) -> Tensor:
    """Upscale frames by bicubic interpolation (a = -0.5): (..., H, W) -> (..., factor * H, factor * W)."""
    return _resize(clip, factor * clip.shape[-2], factor * clip.shape[-1])


def round_to_8bit(clip: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to multiples of 1/255."""
    return (clip.clamp(0, 1) * 255).round() / 255


def _resize(clip: Tensor, height: int, width: int) -> Tensor:
    rows = torch.from_numpy(_cubic_matrix(clip.shape[-2], height))
    columns = torch.from_numpy(_cubic_matrix(clip.shape[-1], width))
    return rows @ clip @ columns.mT


@cache
def _cubic_matrix(size: int, new_size: int) -> np.ndarray:
    """Return the weights of the old pixels in each new one, (new_size, size), with mirrored borders."""
    ratio = size / new_size
    width = max(ratio, 1.0)  # of the kernel: wider for downscaling, which prevents aliasing
    matrix = np.zeros((new_size, size), dtype=np.float32)
    for i in range(new_size):
        centre = (i + 0.5) * ratio - 0.5
        taps = np.arange(np.floor(centre - 2 * width), np.ceil(centre + 2 * width) + 1, dtype=int)
        weights = np.array([catmull_rom(distance) for distance in np.abs(taps - centre) / width])
        mirrored = taps % (2 * size)
        np.add.at(matrix[i], np.minimum(mirrored, 2 * size - 1 - mirrored), weights / weights.sum())
    return matrix
