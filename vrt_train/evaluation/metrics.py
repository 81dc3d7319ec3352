"""How close an output is to its target: PSNR and SSIM of 8-bit frames."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_8bit(clip: Tensor) -> Tensor:
    """Round a clip around [0, 1] to the 256 levels of a file, still as floats 0-255."""
    return (clip.float().clamp(0, 1) * 255).round()


def psnr(output: Tensor, target: Tensor) -> float:
    """Mean over frames of the PSNR of 8-bit frames, (T, C, H, W) around [0, 1], in dB."""
    mse = ((to_8bit(output) - to_8bit(target)).double() ** 2).mean(dim=(1, 2, 3))
    return float((10 * torch.log10(255**2 / mse.clamp(min=1e-9))).mean())


def luma(clip: Tensor) -> Tensor:
    """Return Y of BT.601 in limited range, 0-1: (T, 3, H, W) -> (T, 1, H, W)."""
    weights = clip.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1)
    return ((clip * weights).sum(dim=1, keepdim=True) + 16) / 255


def ssim(output: Tensor, target: Tensor) -> float:
    """Mean over frames and channels of SSIM (11x11 Gaussian, sigma 1.5, inner area) of 8-bit frames."""
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
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())
