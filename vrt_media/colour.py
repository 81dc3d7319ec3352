"""Colour encoding of video frames: matrix, range, chroma siting, and the defaults for missing tags.

Codes are those of ITU-T H.273, as in PyAV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import av

RGB, BT709, UNSPECIFIED, FCC, BT470BG, BT601, SMPTE240M, BT2020 = 0, 1, 2, 4, 5, 6, 7, 9
PQ, HLG = 16, 18
LIMITED, FULL = 1, 2
LINEAR = 8
"""Transfer characteristics of linear light."""
LEFT, CENTRE, TOP_LEFT, TOP, BOTTOM_LEFT, BOTTOM = 1, 2, 3, 4, 5, 6

LUMA_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    FCC: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    BT601: (0.299, 0.114),
    SMPTE240M: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
"""Kr and Kb of each Y'CbCr matrix; Kg is the rest."""

MATRIX_NAMES = {
    RGB: "RGB",
    BT709: "BT.709",
    UNSPECIFIED: "not tagged",
    FCC: "FCC",
    BT470BG: "BT.470 BG (BT.601)",
    BT601: "BT.601",
    SMPTE240M: "SMPTE 240M",
    8: "YCgCo",
    BT2020: "BT.2020",
    10: "BT.2020 constant luminance",
    14: "ICtCp",
}

_NEWER_TAGS = {"color_primaries": UNSPECIFIED, "color_trc": UNSPECIFIED, "chroma_location": 0}
"""Frame attributes that PyAV has from version 17 or later, with their values for untagged frames."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Encoding of R'G'B' in a frame, as given by its tags."""

    matrix: int
    """H.273 matrix code, never `UNSPECIFIED`: `colour_of` fills it in."""
    full_range: bool
    """Whether black is 0 and white the highest code; else they are 16 and 235 (in 8 bits)."""
    primaries: int = UNSPECIFIED
    """H.273 code; copied to the output, not used."""
    transfer: int = UNSPECIFIED
    """H.273 code; copied to the output, not used."""
    siting: int = 0
    """Position of chroma samples among luma samples; 0 is not tagged, and read as left."""

    @property
    def luma_weights(self) -> tuple[float, float]:
        """Kr and Kb; for a matrix of another form, those of the nearest matrix of this form."""
        fallback = BT2020 if self.matrix in (10, 14) else BT709
        return LUMA_WEIGHTS.get(self.matrix, LUMA_WEIGHTS[fallback])

    @property
    def exact(self) -> bool:
        """Whether the conversion is exact: the matrix is RGB or of the Kr and Kb form."""
        return self.matrix in LUMA_WEIGHTS or self.matrix == RGB

    def tag(self, target: av.VideoFrame) -> None:
        """Set the tags of a frame."""
        target.colorspace = self.matrix
        target.color_range = FULL if self.full_range else LIMITED
        for name, value in zip(_NEWER_TAGS, (self.primaries, self.transfer, self.siting), strict=True):
            if hasattr(target, name):
                setattr(target, name, value)


def default_matrix(height: int, width: int) -> int:
    """Return the matrix of an untagged file: BT.601 up to 1279x576, else BT.709, as players assume."""
    return BT709 if width >= 1280 or height > 576 else BT601


def colour_of(frame: av.VideoFrame) -> Colour:
    """Return the colour of a frame, with defaults for missing tags.

    The matrix follows the frame size (`default_matrix`). Y'CbCr is limited in range, except the `yuvj` formats; RGB and
    grey are full.
    """
    name = frame.format.name
    is_rgb = frame.format.is_rgb or frame.format.has_palette
    is_grey = len([c for c in frame.format.components if not c.is_alpha]) == 1 and not is_rgb
    full_by_nature = is_rgb or is_grey or name.startswith("yuvj")
    matrix = int(frame.colorspace)
    if is_rgb:
        matrix = RGB
    elif matrix in (UNSPECIFIED, 3, RGB):
        matrix = default_matrix(frame.height, frame.width)
    tagged_range = int(frame.color_range)
    full_range = full_by_nature if is_rgb or tagged_range not in (LIMITED, FULL) else tagged_range == FULL
    primaries, transfer, siting = (int(getattr(frame, name, 0)) or unknown for name, unknown in _NEWER_TAGS.items())
    return Colour(
        matrix=matrix,
        full_range=full_range,
        primaries=primaries,
        transfer=transfer,
        siting=siting,
    )


def colour_for(pix_fmt: str, source: Colour, height: int, width: int) -> Colour:
    """Return the colour to encode with: the source's, converted to or from RGB if the pixel format requires it."""
    layout = av.VideoFormat(pix_fmt, 16, 16)
    if layout.is_rgb:
        return replace(source, matrix=RGB, full_range=True, siting=0)
    if source.matrix == RGB:
        return replace(source, matrix=default_matrix(height, width), full_range=pix_fmt.startswith("yuvj"), siting=0)
    return source if not pix_fmt.startswith("yuvj") else replace(source, full_range=True)
