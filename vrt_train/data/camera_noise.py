"""Degradations of real footage: camera noise, whose variance grows with the light, film grain, and compression."""

import io
from fractions import Fraction

import av
import torch
import torch.nn.functional as F
from torch import Tensor

from .images import from_images, to_images

_LINEAR_BELOW = 0.018  # light below which the BT.709 transfer function is a straight line
_ENCODER_OPTIONS = {"libvpx-vp9": {"b:v": "0", "deadline": "realtime", "cpu-used": "6"}}
_WITHOUT_CRF = {"mpeg2video", "mpeg4"}


def to_linear(clip: Tensor) -> Tensor:
    """Convert BT.709 video (any shape) around [0, 1] to linear light, 1 at white."""
    return torch.where(clip < 4.5 * _LINEAR_BELOW, clip / 4.5, ((clip.clamp(min=0) + 0.099) / 1.099) ** (1 / 0.45))


def from_linear(light: Tensor) -> Tensor:
    """Convert linear light to BT.709 video: the inverse of ``to_linear``."""
    return torch.where(light < _LINEAR_BELOW, 4.5 * light, 1.099 * light.clamp(min=_LINEAR_BELOW) ** 0.45 - 0.099)


def add_camera_noise(clip: Tensor, shot: float, read: float, generator: torch.Generator | None = None) -> Tensor:
    """Add sensor noise: Gaussian in linear light, with variance shot * light + read^2.

    From: Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data" (TIP 2008).

    Args:
        clip: (..., H, W), BT.709 video in [0, 1].
        shot: Variance per unit of light, which is 1 at white; from 0.001 (little noise) to 0.03 (very noisy).
        read: Standard deviation in the dark, in the same unit.
        generator: Source of randomness.

    Returns:
        Same shape as ``clip``, not clipped.
    """
    light = to_linear(clip)
    deviation = (shot * light.clamp(min=0) + read**2).sqrt()
    return from_linear(light + deviation * torch.randn(clip.shape, generator=generator))


def add_film_grain(clip: Tensor, sigma_255: float, size_px: float, generator: torch.Generator | None = None) -> Tensor:
    """Add film grain: blurred noise, strongest in midtones, half of its variance common to the colour channels.

    Args:
        clip: (T, 3, H, W) in [0, 1].
        sigma_255: Standard deviation in midtones, in 8-bit steps.
        size_px: Sigma of the Gaussian that blurs it, 0.3 (fine) to 1.2 px (coarse).
        generator: Source of randomness.

    Returns:
        Same shape as ``clip``, not clipped.
    """
    T, _, H, W = clip.shape
    line = torch.exp(-((torch.arange(9) - 4) ** 2) / (2 * size_px**2))
    kernel = line[:, None] * line
    white = torch.randn(4 * T, 1, H + 8, W + 8, generator=generator)
    noise = F.conv2d(white, (kernel / kernel.norm())[None, None]).view(T, 4, H, W)  # common, then each channel
    midtones = 2 * (clip.clamp(0, 1) * (1 - clip.clamp(0, 1))).sqrt()
    return clip + sigma_255 / 255 * midtones * (noise[:, :1] + noise[:, 1:]) / 2**0.5


def compress(clip: Tensor, codec: str, crf: int) -> Tensor:
    """Encode a clip as 8-bit 4:2:0 video and decode it again.

    Args:
        clip: (T, 3, H, W) in [0, 1], H and W even.
        codec: "libx264", "libvpx-vp9", "mpeg2video" or "mpeg4".
        crf: Constant rate factor, from 0 (best) to 51 (H.264) or 63 (VP9). Encoders without one get the quantizer whose
            step is about that of H.264 at this factor.

    Returns:
        (T, 3, H, W) in [0, 1], rounded to 8 bits.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=_rate_options(codec, crf))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = clip.shape[-2], clip.shape[-1], "yuv420p"
        stream.codec_context.thread_count = 1
        for image in to_images(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as decoded:
        return from_images([frame.to_ndarray(format="rgb24") for frame in decoded.decode(video=0)])


def _rate_options(codec: str, crf: int) -> dict[str, str]:
    if codec in _WITHOUT_CRF:
        quantizer = str(min(max(round(2 ** ((crf - 12) / 6)), 2), 31))
        return {"qmin": quantizer, "qmax": quantizer}
    return {"crf": str(crf)} | _ENCODER_OPTIONS.get(codec, {})
