"""Video encoders: their default settings, their options, and the choice of a pixel format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import av
import torch

from .chroma import chroma_factors
from .clip import MediaError

THREADS = "4"
"""Threads of every encoder, on every machine: the bytes of x264 and x265 depend on their number."""
DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"crf": "16", "preset": "medium", "thread_type": "frame"},
    "libx265": {"crf": "18", "preset": "medium", "x265-params": "log-level=error"},
    "libsvtav1": {"crf": "24", "preset": "6"},
    "libvpx-vp9": {"crf": "20", "b": "0", "row-mt": "1"},
    "prores_ks": {"profile": "3"},
}
"""Settings of common encoders; all others get libav's defaults."""

X264_ASM = "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"
"""Instruction sets of processors with AVX-512, without it, by x264's names."""

Y4M_FORMATS = (
    *("yuv420p", "yuv422p", "yuv444p", "gray", "yuv411p"),
    *(f"yuv{family}p{bits}le" for bits in (9, 10, 12, 14, 16) for family in (420, 422, 444)),
)
"""Pixel formats of y4m."""


def default_codec(output: str) -> str:
    """Return the default encoder of an output: H.264, which every player supports, except in WebM."""
    return "libvpx-vp9" if output.lower().endswith(".webm") else "libx264"


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Settings of an output; None selects a default."""

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the encoder, by libav's names."""
    image_format: str | None = None
    """Suffix of the images of a folder, without its dot: "png", "tif" or "exr"; None for EXR if the input has
    floating-point samples, else PNG."""

    def settings(self) -> dict[str, str]:
        """Return the options of the encoder, with their defaults.

        Raises:
            MediaError: If this build has no such encoder, or if it does not have one of the options.
        """
        options = dict(self.options)
        if self.crf is not None:
            options["crf"] = f"{self.crf:g}"
        if self.preset is not None:
            options["preset"] = self.preset
        known = encoder_options(self.codec)
        for name in options:
            if known is not None and name not in known:
                raise MediaError(
                    f"--codec {self.codec} has no option {name!r}; ffmpeg -h encoder={self.codec} lists those it has"
                )
        return {"threads": THREADS, **DEFAULTS.get(self.codec, {}), **options}


def reproducible(codec: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which an encoder gives the same bytes each time, on this processor as on others.

    x264's code for AVX-512 reads memory that it has not set where the number of macroblocks in a row is no multiple of
    8 (720x576, 854x480). All its other code computes the same as plain C.
    """
    if codec not in ("libx264", "libx264rgb") or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return dict(settings)
    params = ":".join(filter(None, (X264_ASM, settings.get("x264-params"))))
    return {**settings, "x264-params": params}


def find_encoder(name: str) -> av.Codec:
    """Return the video encoder of that name.

    Raises:
        MediaError: If this build of libav has none.
    """
    try:
        codec = av.Codec(name, "w")
    except ValueError:
        raise MediaError(
            f"--codec {name}: no such encoder in this build; there are libx264, libx265, libsvtav1, ffv1 and more"
        ) from None
    if codec.type != "video":
        raise MediaError(f"--codec {name} encodes {codec.type}, not video")
    return codec


def encoder_options(name: str) -> set[str] | None:
    """Return the names of an encoder's options, private and generic; None if PyAV is too old to list them."""
    context = av.CodecContext.create(find_encoder(name).name, "w")
    if not hasattr(context, "supported_options"):
        return None
    options = context.supported_options
    return {option.name for option in (*options.generic, *options.private)}


def choose_pix_fmt(offered: tuple[str, ...], source: str, height: int, width: int) -> str:
    """Return the pixel format nearest to the source's that the encoder offers.

    The subsampling is the source's; the depth is 10 bits if the source has more than 8. RGB and images become 4:2:0,
    which every player supports. Frames whose width or height 4:2:0 or 4:2:2 cannot halve become 4:4:4, so that no pixel
    is lost or added.

    Args:
        offered: Formats of the encoder; empty if it takes any.
        source: Format of the source, by libav's name.
        height: Height of the output, pixels.
        width: Width of the output, pixels.

    Raises:
        MediaError: If the encoder offers no usable format.
    """
    layout = av.VideoFormat(source, 16, 16)
    components = [c for c in layout.components if not c.is_alpha]
    is_deep = bit_depth(source) > 8
    is_rgb_or_grey = layout.is_rgb or layout.has_palette or len(components) == 1
    down, across = (2, 2) if is_rgb_or_grey else chroma_factors(source)
    if height % down or width % across:
        down, across = 1, 1
    family = {(2, 2): "420", (1, 2): "422"}.get((down, across), "444")
    families = {"420": ("420", "422", "444"), "422": ("422", "444", "420"), "444": ("444", "422", "420")}[family]
    for suffix in ("10le", "12le", "16le", "") if is_deep else ("", "10le", "12le", "16le"):
        for candidate in families:
            fits = candidate == "444" or (width % 2 == 0 and (candidate == "422" or height % 2 == 0))
            name = f"yuv{candidate}p{suffix}"
            if fits and (not offered or name in offered):
                return name
    raise MediaError(
        f"the encoder takes none of the usual formats at {width}x{height}; name one with --pix-fmt, "
        f"out of {', '.join(offered[:12])}"
    )


def bit_depth(pix_fmt: str) -> int:
    """Return the bits of a channel of a pixel format, without alpha."""
    return max(c.bits for c in av.VideoFormat(pix_fmt, 16, 16).components if not c.is_alpha)


def is_float(pix_fmt: str) -> bool:
    """Return whether a pixel format has floating-point samples, by its name: libav tells it no other way."""
    return re.search(r"f(16|32)(be|le)$", pix_fmt) is not None


def check_pix_fmt(name: str) -> str:
    """Return the name of a pixel format.

    Raises:
        MediaError: If libav does not know it.
    """
    if not re.fullmatch(r"\w+", name):
        raise MediaError(f"--pix-fmt {name!r} is no pixel format")
    try:
        av.VideoFormat(name, 16, 16)
    except ValueError:
        raise MediaError(f"--pix-fmt {name}: libav knows no such pixel format (yuv420p, yuv420p10le, ...)") from None
    return name
