"""Baselines for the shipped models: classic filters for scaling, interpolation, deblurring and denoising."""

import math
from fractions import Fraction

import av
import av.filter
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..data.images import from_images, to_images


def lanczos(clip: Tensor, factor: int) -> Tensor:
    """Upscale with Pillow's Lanczos filter: (T, 3, H, W) -> (T, 3, factor * H, factor * W)."""
    size = factor * clip.shape[-1], factor * clip.shape[-2]
    resized = [Image.fromarray(image).resize(size, Image.Resampling.LANCZOS) for image in to_images(clip)]
    return from_images([np.asarray(image) for image in resized])


def minterpolate(clip: Tensor) -> Tensor:
    """Interpolate with FFmpeg's motion-compensating filter: (T, 3, H, W) -> the frames in between, (T - 1, 3, H, W).

    The first and last frame are repeated, since the filter reads frames beyond those that it interpolates.
    """
    graph = av.filter.Graph()
    images = to_images(clip)
    images = [images[0]] * 3 + images + [images[-1]] * 3
    H, W = clip.shape[-2:]
    source = graph.add_buffer(width=W, height=H, format="rgb24", time_base=Fraction(1, 2))
    steps = [
        graph.add("format", "yuv444p"),
        graph.add("minterpolate", "fps=2:mi_mode=mci:scd=none"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ]
    for first, second in zip([source, *steps], steps, strict=False):
        first.link_to(second)
    graph.configure()
    outputs: dict[int, np.ndarray] = {}

    def pull_frames() -> None:
        while True:
            try:
                frame = graph.pull()
            except (BlockingIOError, EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            assert frame.pts is not None
            assert frame.time_base is not None
            outputs[round(2 * frame.pts * frame.time_base)] = frame.to_ndarray(format="rgb24")

    for i, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = 2 * i, Fraction(1, 2)
        graph.push(frame)
        pull_frames()
    graph.push(None)
    pull_frames()
    return from_images([outputs[2 * (3 + i) + 1] for i in range(len(clip) - 1)])


def unsharp_mask(clip: Tensor, radius_px: float, amount: float) -> Tensor:
    """Sharpen a clip (T, 3, H, W) with an unsharp mask.

    Args:
        clip: (T, 3, H, W).
        radius_px: Sigma of the Gaussian.
        amount: Factor on the difference from the blurred clip, which is added.
    """
    reach = math.ceil(3 * radius_px)
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * radius_px**2))
    line = line / line.sum()
    kernel = (line[:, None] * line).expand(3, 1, -1, -1)
    smooth = F.conv2d(F.pad(clip, (reach,) * 4, mode="reflect"), kernel, groups=3)
    return clip + amount * (clip - smooth)


def motion_kernel(path: np.ndarray, side: int = 33) -> Tensor:
    """Return the blur kernel of a path, (side, side), splatted bilinearly.

    Args:
        path: Offsets from the centre, (K, 2) in (x, y) pixels.
        side: Height and width of the kernel, odd.
    """
    kernel = torch.zeros(side, side)
    for x, y in path + side // 2:
        column, row = math.floor(x), math.floor(y)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (1 - abs(y - row - i)) * (1 - abs(x - column - j))
            if 0 <= row + i < side and 0 <= column + j < side:
                kernel[row + i, column + j] += weight
    return kernel / kernel.sum()


def wiener(frame: Tensor, kernel: Tensor, noise_ratio: float) -> Tensor:
    """Deconvolve a frame with a known kernel by a Wiener filter.

    Args:
        frame: (3, H, W).
        kernel: (S, S), S odd, as a correlation: blurred[p] is the sum of kernel[q] * sharp[p + q].
        noise_ratio: Power of the noise / power of the frame, at every frequency.
    """
    H, W = frame.shape[-2:]
    reach = kernel.shape[0] // 2
    mirrored = torch.cat((frame, frame.flip(-1)), dim=-1)  # (3, H, 2W); periodic, as the FFT assumes
    mirrored = torch.cat((mirrored, mirrored.flip(-2)), dim=-2)  # (3, 2H, 2W)
    padded_kernel = frame.new_zeros(mirrored.shape[-2:])
    padded_kernel[: kernel.shape[0], : kernel.shape[1]] = kernel.flip(0, 1)
    transfer = torch.fft.rfft2(padded_kernel.roll((-reach, -reach), (0, 1)))
    filtered = torch.fft.rfft2(mirrored) * transfer.conj() / (transfer.abs() ** 2 + noise_ratio)
    return torch.fft.irfft2(filtered, s=mirrored.shape[-2:])[:, :H, :W]


def bm3d(frame: Tensor, sigma_255: float) -> Tensor:
    """Denoise one frame (3, H, W) by BM3D, colour version; needs ``pip install bm3d``, whose licence is non-commercial.

    From: Dabov et al., "Image denoising by sparse 3-D transform-domain collaborative filtering" (TIP 2007).
    """
    from bm3d import bm3d_rgb  # pyright: ignore[reportMissingImports]

    image = frame.movedim(0, -1).double().numpy()
    return torch.from_numpy(bm3d_rgb(image, max(sigma_255, 0.1) / 255)).float().movedim(-1, 0)
