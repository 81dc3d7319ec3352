"""Blind estimation of the noise level of a clip.

Patches of a clean image span a subspace of few dimensions, and white noise has the same variance in every dimension.
So the smallest eigenvalues of the covariance of the patches equal the variance of the noise. Method: Chen, Zhu, Heng,
"An efficient statistical method for image noise level estimation" (ICCV 2015).

A codec with 4:2:0 chroma removes the high frequencies of the noise, those of colour almost entirely. Where colour has
none, brightness alone shows the noise, at full and at half size, and in the change from frame to frame, which lacks
the texture of what stands still.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.extensions.frequency_prior import opponent_colours
from ..network.ops import onednn_matmul
from ..options import MAX_SIGMA_255

PATCH_PX = 8
_TARGET_PATCHES = 1 << 15  # sampled from all frames together; enough for an error of about 1 % of sigma
_MIN_PATCHES = 4 * PATCH_PX**2  # four for each of the 64 dimensions; with fewer the covariance is unreliable

_MAX_CODEC_CHROMA, _MIN_WHITE_CHROMA = 0.25, 0.5
"""Noise of colour / noise of brightness: below the first, a codec removed it; above the second, noise is white."""
_MAX_HALF_SIZE, _MAX_HALF_SIZE_255, _MAX_WHITE_GROWTH = 4.0, 14.0, 1.2
"""Limits of the noise at half size, as texture passes for noise there: in units of that at full size, and in 8-bit
units, since strong noise, which a codec leaves almost white, grows less than the third."""
_CODEC_FACTOR, _HALF_SIZE_WEIGHT = 1.2, 0.75
"""Best level of a filter / weighted geometric mean of the noise of brightness at both sizes, and the weight of half
size there. The optimum is flat, so low precision suffices."""


@torch.no_grad()
def estimate_sigma(frames: Tensor, *, coloured: bool = False) -> float:
    """Estimate the standard deviation of Gaussian noise from frames of one scene.

    Every colour channel is analysed separately, so the noise of the channels may be correlated. The estimate is too low
    for noise that is not white, as in enlarged or compressed frames; ``coloured`` corrects it for compressed ones.

    Args:
        frames: (T, C, H, W), RGB in [0, 1] in the first three channels; any size.
        coloured: Whether to return, for frames whose noise went through a codec, the sigma of white noise that a filter
            should assume; it exceeds that of their noise. For white noise it is the same.

    Returns:
        Root mean square of the estimates of the channels, in 8-bit units, 0 to 50; 0 if the frames are too small.
    """
    sigma_255 = _root_mean_square(_channel_sigmas(frames[:, :3]))
    if coloured and sigma_255:
        sigma_255 = _blend_with_codec_level(sigma_255, frames[:, :3])
    return min(sigma_255, float(MAX_SIGMA_255))


def _blend_with_codec_level(sigma_255: float, frames: Tensor) -> float:
    """Return ``sigma_255`` for white noise, the level of brightness after a codec, or a blend where colour has some."""
    opponent = torch.einsum("ij,tjhw->tihw", opponent_colours().to(frames), frames)
    brightness, colour = opponent[:, :1], _channel_sigmas(opponent[:, 1:])
    full_size, half_size = _changing_sigma(brightness), 2 * _changing_sigma(F.avg_pool2d(brightness, 2))
    if not full_size:
        return sigma_255
    ratio = _root_mean_square(colour) / full_size
    codec_weight = min(max((_MIN_WHITE_CHROMA - ratio) / (_MIN_WHITE_CHROMA - _MAX_CODEC_CHROMA), 0.0), 1.0)
    limit = min(max(_MAX_HALF_SIZE_255, _MAX_WHITE_GROWTH * full_size), _MAX_HALF_SIZE * full_size)
    growth = min(max(half_size, full_size), limit) / full_size
    level = _CODEC_FACTOR * full_size * growth**_HALF_SIZE_WEIGHT
    return sigma_255 + codec_weight * (level - sigma_255)


def _changing_sigma(frames: Tensor) -> float:
    """Return the sigma of frames (T, 1, H, W), or its geometric mean with that of their changes if these have less."""
    (sigma_255,) = _channel_sigmas(frames)
    if len(frames) == 1:
        return sigma_255
    (change_255,) = _channel_sigmas((frames[1:] - frames[:-1]) / math.sqrt(2))
    return math.sqrt(sigma_255 * min(sigma_255, change_255))


def _root_mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def _channel_sigmas(frames: Tensor) -> list[float]:
    """Return the sigma of each channel of frames (T, C, H, W), in 8-bit units; 0 if the frames are too small."""
    T, C, H, W = frames.shape
    side = min(PATCH_PX, H, W)
    step = max(1, math.isqrt(T * H * W // _TARGET_PATCHES))
    if side < PATCH_PX:
        return [0.0] * C
    patches = frames.unfold(-2, side, step).unfold(-2, side, step)  # (T, C, h, w, side, side)
    patches = patches.transpose(0, 1).reshape(C, -1, side * side)  # (C, T * h * w, side * side)
    if patches.shape[1] < _MIN_PATCHES:
        return [0.0] * C
    centred = (patches - patches.mean(dim=1, keepdim=True)).float()
    with onednn_matmul(centred):
        covariance = centred.mT @ centred / patches.shape[1]  # (C, side * side, side * side)
    variances = [_noise_variance(values) for values in torch.linalg.eigvalsh(covariance.double().cpu())]
    return [255 * math.sqrt(max(variance, 0.0)) for variance in variances]


def _noise_variance(eigenvalues: Tensor) -> float:
    """Return the mean of the eigenvalues of the noise subspace, whose mean equals their median (paper, theorem 1).

    Args:
        eigenvalues: In ascending order.
    """
    count = len(eigenvalues)
    while count > 1 and eigenvalues[:count].mean() > eigenvalues[:count].median():
        count -= 1
    return float(eigenvalues[:count].mean())
