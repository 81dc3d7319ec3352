"""Image quality metrics: PSNR and SSIM of 8-bit frames."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_8bit(clip: Tensor) -> Tensor:
    """Clamp a clip to [0, 1] and round it to 8 bits: floats 0-255."""
    return (clip.float().clamp(0, 1) * 255).round()


def psnr(output: Tensor, target: Tensor) -> float:
    """Return the mean over frames of the PSNR of 8-bit frames, in dB; clips are (T, C, H, W) around [0, 1]."""
    mse = ((to_8bit(output) - to_8bit(target)).double() ** 2).mean(dim=(1, 2, 3))
    return float((10 * torch.log10(255**2 / mse.clamp(min=1e-9))).mean())


def ssim(output: Tensor, target: Tensor) -> float:
    """Return the mean over frames and channels of the SSIM of 8-bit frames.

    Wang et al., "Image quality assessment: from error visibility to structural similarity" (TIP 2004): 11x11 Gaussian
    window of sigma 1.5, K1 = 0.01, K2 = 0.03, without the border.

    Args:
        output: (T, C, H, W) around [0, 1].
        target: Same shape.
    """
    x, y = (to_8bit(clip).double() for clip in (output, target))
    C = x.shape[1]
    offsets = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    line = line / line.sum()
    kernel = (line[:, None] * line).expand(C, 1, 11, 11)

    def blur(image: Tensor) -> Tensor:
        return F.conv2d(image, kernel, groups=C)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())
