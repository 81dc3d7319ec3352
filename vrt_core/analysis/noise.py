"""How noisy a clip is, where nobody says so.

Small patches of pictures lie in few dimensions, white noise in all alike: the smallest eigenvalues of the covariance of
patches are the variance of the noise. From: Chen, Zhu, Heng, "An efficient statistical method for image noise level
estimation" (ICCV 2015).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..network.ops.onednn import quick_products
from ..options import MAX_SIGMA_255

PATCH_PX = 8
_PATCHES = 1 << 15  # looked at, of all frames together: enough for about 1 % of sigma
_LEAST_PATCHES = 4 * PATCH_PX**2  # fewer say too little about so many dimensions


@torch.no_grad()
def estimate_sigma(frames: Tensor) -> float:
    """Estimate the standard deviation of white Gaussian noise from frames of one scene.

    Every colour channel is looked at alone, so noise may be coupled between channels. Noise that is blurred (scaled
    up, or strongly compressed) hides from the estimate, which is too low then.

    Args:
        frames: (T, C, H, W), RGB in [0, 1] in the first three channels; any size.

    Returns:
        The estimate in 8-bit units, 0 to 50; the root mean square over the channels. 0 if there is too little to see.
    """
    T, H, W = len(frames), *frames.shape[-2:]
    side = min(PATCH_PX, H, W)
    step = max(1, math.isqrt(T * H * W // _PATCHES))
    patches = frames[:, :3].unfold(-2, side, step).unfold(-2, side, step)  # (T, 3, h, w, side, side)
    patches = patches.transpose(0, 1).reshape(3, -1, side * side)
    if side < PATCH_PX or patches.shape[1] < _LEAST_PATCHES:
        return 0.0
    centred = (patches - patches.mean(dim=1, keepdim=True)).float()
    with quick_products(centred):
        covariance = centred.mT @ centred / patches.shape[1]
    variances = [_smallest(values) for values in torch.linalg.eigvalsh(covariance.double().cpu())]
    sigma = math.sqrt(max(sum(variances) / len(variances), 0.0))
    return min(255 * sigma, float(MAX_SIGMA_255))


def _smallest(eigenvalues: Tensor) -> float:
    """Return the mean of those that the noise alone explains: symmetric about their mean (theorem 1 of the paper).

    Args:
        eigenvalues: In ascending order.
    """
    count = len(eigenvalues)
    while count > 1 and eigenvalues[:count].mean() > eigenvalues[:count].median():
        count -= 1
    return float(eigenvalues[:count].mean())
