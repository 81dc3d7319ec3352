"""What the shipped models are compared with: filters that anyone has at hand."""

import math
from fractions import Fraction

import av
import av.filter
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..data.degradations import round_to_8bit


def to_images(clip: Tensor) -> list[np.ndarray]:
    """Return the 8-bit frames of a clip (T, 3, H, W) in [0, 1], (H, W, 3) each."""
    return list((round_to_8bit(clip) * 255).round().to(torch.uint8).movedim(1, -1).numpy())


def from_images(images: list[np.ndarray]) -> Tensor:
    """Return the clip (T, 3, H, W) in [0, 1] of 8-bit frames."""
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255


def lanczos(clip: Tensor, factor: int) -> Tensor:
    """Enlarge by Pillow's Lanczos filter: (T, 3, H, W) -> (T, 3, factor * H, factor * W)."""
    size = factor * clip.shape[-1], factor * clip.shape[-2]
    resized = [Image.fromarray(image).resize(size, Image.Resampling.LANCZOS) for image in to_images(clip)]
    return from_images([np.asarray(image) for image in resized])


def minterpolate(clip: Tensor) -> Tensor:
    """Double the frames by FFmpeg's motion-compensating filter: the frames in between, (T - 1, 3, H, W).

    The first and last frame are repeated, since the filter looks further than it writes.
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
    made: dict[int, np.ndarray] = {}

    def take() -> None:
        while True:
            try:
                frame = graph.pull()
            except (BlockingIOError, EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            assert frame.pts is not None
            assert frame.time_base is not None
            made[round(2 * frame.pts * frame.time_base)] = frame.to_ndarray(format="rgb24")

    for i, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = 2 * i, Fraction(1, 2)
        graph.push(frame)
        take()
    graph.push(None)
    take()
    return from_images([made[2 * (3 + i) + 1] for i in range(len(clip) - 1)])


def unsharp_mask(clip: Tensor, radius_px: float, amount: float) -> Tensor:
    """Add ``amount`` times what a Gaussian of this radius (its sigma) takes away."""
    reach = math.ceil(3 * radius_px)
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * radius_px**2))
    line = line / line.sum()
    kernel = (line[:, None] * line).expand(3, 1, -1, -1)
    smooth = F.conv2d(F.pad(clip, (reach,) * 4, mode="reflect"), kernel, groups=3)
    return clip + amount * (clip - smooth)


def motion_kernel(path: np.ndarray, side: int = 33) -> Tensor:
    """Return the kernel of a path of offsets (K, 2) in (x, y) pixels, (side, side), each shared by four pixels."""
    kernel = torch.zeros(side, side)
    for x, y in path + side // 2:
        column, row = math.floor(x), math.floor(y)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (1 - abs(y - row - i)) * (1 - abs(x - column - j))
            if 0 <= row + i < side and 0 <= column + j < side:
                kernel[row + i, column + j] += weight
    return kernel / kernel.sum()


def wiener(frame: Tensor, kernel: Tensor, noise_ratio: float) -> Tensor:
    """Undo the blur of a known kernel by a Wiener filter.

    Args:
        frame: (3, H, W).
        kernel: (S, S), S odd, as a correlation: what pixel p shows is the sum of kernel[q] * sharp[p + q].
        noise_ratio: Power of the noise / power of the picture, at every frequency.
    """
    H, W = frame.shape[-2:]
    reach = kernel.shape[0] // 2
    doubled = torch.cat((frame, frame.flip(-1)), dim=-1)  # mirrored, so that the ends meet
    doubled = torch.cat((doubled, doubled.flip(-2)), dim=-2)
    whole = frame.new_zeros(doubled.shape[-2:])
    whole[: kernel.shape[0], : kernel.shape[1]] = kernel.flip(0, 1)
    transfer = torch.fft.rfft2(whole.roll((-reach, -reach), (0, 1)))
    filtered = torch.fft.rfft2(doubled) * transfer.conj() / (transfer.abs() ** 2 + noise_ratio)
    return torch.fft.irfft2(filtered, s=doubled.shape[-2:])[:, :H, :W]


def bm3d(frame: Tensor, sigma_255: float) -> Tensor:
    """Denoise one frame (3, H, W) by BM3D, colour version; needs ``pip install bm3d``, whose licence is non-commercial.

    From: Dabov et al., "Image denoising by sparse 3-D transform-domain collaborative filtering" (TIP 2007).
    """
    from bm3d import bm3d_rgb  # pyright: ignore[reportMissingImports]

    image = frame.movedim(0, -1).double().numpy()
    return torch.from_numpy(bm3d_rgb(image, max(sigma_255, 0.1) / 255)).float().movedim(-1, 0)
