"""Blind estimation of the noise level of a clip.

Patches of a clean image span a subspace of few dimensions, and white noise has the same variance in every dimension.
So the smallest eigenvalues of the covariance of the patches equal the variance of the noise. Method: Chen, Zhu, Heng,
"An efficient statistical method for image noise level estimation" (ICCV 2015).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..network.ops import onednn_matmul
from ..options import MAX_SIGMA_255

PATCH_PX = 8
_TARGET_PATCHES = 1 << 15  # sampled from all frames together; enough for an error of about 1 % of sigma
_MIN_PATCHES = 4 * PATCH_PX**2  # four for each of the 64 dimensions; with fewer the covariance is unreliable


@torch.no_grad()
def estimate_sigma(frames: Tensor) -> float:
    """Estimate the standard deviation of white Gaussian noise from frames of one scene.

    Every colour channel is analysed separately, so the noise of the channels may be correlated. The estimate is too low
    if the noise is not white, as in enlarged or strongly compressed frames.

    Args:
        frames: (T, C, H, W), RGB in [0, 1] in the first three channels; any size.

    Returns:
        Root mean square of the estimates of the channels, in 8-bit units, 0 to 50; 0 if the frames are too small.
    """
    T, H, W = len(frames), *frames.shape[-2:]
    side = min(PATCH_PX, H, W)
    step = max(1, math.isqrt(T * H * W // _TARGET_PATCHES))
    patches = frames[:, :3].unfold(-2, side, step).unfold(-2, side, step)  # (T, 3, h, w, side, side)
    patches = patches.transpose(0, 1).reshape(3, -1, side * side)  # (3, T * h * w, side * side)
    if side < PATCH_PX or patches.shape[1] < _MIN_PATCHES:
        return 0.0
    centred = (patches - patches.mean(dim=1, keepdim=True)).float()
    with onednn_matmul(centred):
        covariance = centred.mT @ centred / patches.shape[1]  # (3, side * side, side * side)
    variances = [_noise_variance(values) for values in torch.linalg.eigvalsh(covariance.double().cpu())]
    sigma = math.sqrt(max(sum(variances) / len(variances), 0.0))
    return min(255 * sigma, float(MAX_SIGMA_255))


def _noise_variance(eigenvalues: Tensor) -> float:
    """Return the mean of the eigenvalues of the noise subspace, whose mean equals their median (paper, theorem 1).

    Args:
        eigenvalues: In ascending order.
    """
    count = len(eigenvalues)
    while count > 1 and eigenvalues[:count].mean() > eigenvalues[:count].median():
        count -= 1
    return float(eigenvalues[:count].mean())
