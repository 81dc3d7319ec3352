"""Which encoder, with what settings, and in which pixel format."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import av

from vrt_media.planes import chroma_factors

from .clip import MediaError

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"crf": "16", "preset": "medium"},
    "libx265": {"crf": "18", "preset": "medium", "x265-params": "log-level=error"},
    "libsvtav1": {"crf": "24", "preset": "6"},
    "libvpx-vp9": {"crf": "20", "b": "0", "row-mt": "1"},
    "prores_ks": {"profile": "3"},
}
"""Settings of the encoders that are likely to be asked for; others get libav's own."""

Y4M_FORMATS = (
    *("yuv420p", "yuv422p", "yuv444p", "gray", "yuv411p"),
    *(f"yuv{family}p{bits}le" for bits in (9, 10, 12, 14, 16) for family in (420, 422, 444)),
)
"""What a y4m pipe can carry."""


def default_codec(output: str) -> str:
    """The encoder for an output, if the user names none: every player shows H.264, but WebM cannot hold it."""
    return "libvpx-vp9" if output.lower().endswith(".webm") else "libx264"


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The user's wishes for a video output; None leaves the choice here."""

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the encoder, as libav names them."""

    def settings(self) -> dict[str, str]:
        """The encoder's options.

        Raises:
            MediaError: If there is no such encoder here, or it does not know one of the options.
        """
        wanted = dict(self.options)
        if self.crf is not None:
            wanted["crf"] = f"{self.crf:g}"
        if self.preset is not None:
            wanted["preset"] = self.preset
        known = encoder_options(self.codec)
        for name in wanted:
            if name not in known:
                raise MediaError(
                    f"--codec {self.codec} has no option {name!r}; ffmpeg -h encoder={self.codec} lists those it has"
                )
        return {**DEFAULTS.get(self.codec, {}), **wanted}


def find_encoder(name: str) -> av.Codec:
    """The encoder of that name.

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


def encoder_options(name: str) -> set[str]:
    """Names of all options that an encoder takes, its own and those that all have."""
    options = av.CodecContext.create(find_encoder(name).name, "w").supported_options
    return {option.name for option in (*options.generic, *options.private)}


def choose_pix_fmt(offered: tuple[str, ...], source: str, height: int, width: int) -> str:
    """The pixel format nearest to the source's that the encoder offers.

    Subsampling as in the source, 10 bits if it has more than 8. RGB and images become 4:2:0, which every player
    shows. A width or height that 4:2:0 or 4:2:2 cannot halve becomes 4:4:4, so that no pixel is lost or invented.

    Args:
        offered: The encoder's formats; empty if it takes any.
        source: libav's name of the source's format.
        height: Of the output, px.
        width: Of the output, px.

    Raises:
        MediaError: If the encoder offers nothing that could be right.
    """
    layout = av.VideoFormat(source, 16, 16)
    components = [c for c in layout.components if not c.is_alpha]
    deep = max(c.bits for c in components) > 8
    plain = layout.is_rgb or layout.has_palette or len(components) == 1
    down, across = (2, 2) if plain else chroma_factors(source)
    if height % down or width % across:
        down, across = 1, 1
    family = {(2, 2): "420", (1, 2): "422"}.get((down, across), "444")
    rising = {"420": ("420", "422", "444"), "422": ("422", "444", "420"), "444": ("444", "422", "420")}[family]
    for suffix in ("10le", "12le", "16le", "") if deep else ("", "10le", "12le", "16le"):
        for candidate in rising:
            fits = candidate == "444" or (width % 2 == 0 and (candidate == "422" or height % 2 == 0))
            name = f"yuv{candidate}p{suffix}"
            if fits and (not offered or name in offered):
                return name
    raise MediaError(
        f"the encoder takes none of the usual formats at {width}x{height}; name one with --pix-fmt, "
        f"out of {', '.join(offered[:12])}"
    )


def check_pix_fmt(name: str) -> str:
    """The name, if libav knows it.

    Raises:
        MediaError: If not.
    """
    if not re.fullmatch(r"\w+", name):
        raise MediaError(f"--pix-fmt {name!r} is no pixel format")
    try:
        av.VideoFormat(name, 16, 16)
    except ValueError:
        raise MediaError(f"--pix-fmt {name}: libav knows no such pixel format (yuv420p, yuv420p10le, ...)") from None
    return name
