"""What cameras and files do to video: noise that grows with the light, and the traces of codecs."""

import io
from fractions import Fraction

import av
import torch
from torch import Tensor

from ..evaluation.baselines import from_images, to_images

_TOE = 0.018  # of the BT.709 transfer function: linear light below which it is a straight line
_QUICK = {"libvpx-vp9": {"b:v": "0", "deadline": "realtime", "cpu-used": "6"}}


def to_linear(clip: Tensor) -> Tensor:
    """Return the light (any shape) of BT.709 video around [0, 1]."""
    return torch.where(clip < 4.5 * _TOE, clip / 4.5, ((clip.clamp(min=0) + 0.099) / 1.099) ** (1 / 0.45))


def from_linear(light: Tensor) -> Tensor:
    """Undo ``to_linear``."""
    return torch.where(light < _TOE, 4.5 * light, 1.099 * light.clamp(min=_TOE) ** 0.45 - 0.099)


def add_camera_noise(clip: Tensor, shot: float, read: float, generator: torch.Generator | None = None) -> Tensor:
    """Add the noise of a sensor at a high ISO: it is Gaussian in linear light, of variance shot * light + read^2.

    Args:
        clip: (..., H, W), BT.709 video in [0, 1].
        shot: Variance per unit of light, which is 1 at white; 0.001 to 0.03 from quiet to very noisy.
        read: Standard deviation where it is dark, in the same unit.
        generator: Source of randomness.

    Returns:
        As ``clip``, not clipped. From: Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for
        single-image raw-data" (TIP 2008).
    """
    light = to_linear(clip)
    deviation = (shot * light.clamp(min=0) + read**2).sqrt()
    return from_linear(light + deviation * torch.randn(clip.shape, generator=generator))


def compress(clip: Tensor, codec: str, crf: int) -> Tensor:
    """Encode a clip as a file would hold it, 8 bit 4:2:0, and decode it again.

    Args:
        clip: (T, 3, H, W) in [0, 1], H and W even.
        codec: A video encoder of libav that takes a ``crf``, such as "libx264" or "libvpx-vp9".
        crf: 0 (best) to 51 or 63.

    Returns:
        (T, 3, H, W) in [0, 1], rounded to 8 bits.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options={"crf": str(crf)} | _QUICK.get(codec, {}))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = clip.shape[-2], clip.shape[-1], "yuv420p"
        stream.codec_context.thread_count = 1
        for image in to_images(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as decoded:
        return from_images([frame.to_ndarray(format="rgb24") for frame in decoded.decode(video=0)])
