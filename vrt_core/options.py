"""The options that users meet: names, defaults, ranges and a line of help, once for all front ends.

Numbers and words only, so that a form or a help text is there without loading torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_SIGMA_255 = 50
"""Strongest noise that the denoising models know, in 8-bit units."""

FACTORS = (2, 4, 8)
"""Frames that interpolation can make of one."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of ``load_restorer`` or of a restorer's doors."""

    name: str
    """The keyword argument."""

    help: str
    """What it does, in one line."""

    default: int | str | None = None
    """As in the signature; None and "auto" leave the choice to the model or to the engine."""

    least: float | None = None
    """Smallest value; None where the option is no number."""

    most: float | None = None
    """Largest value; None where nothing but sense limits it."""

    step: float | None = None
    """What a form counts by; an int for whole numbers."""

    unit: str = ""
    choices: tuple[int | str, ...] = ()
    """All values, where they are few."""

    @property
    def is_automatic(self) -> bool:
        """Whether the choice can be left to the model or to the engine."""
        return self.default in (None, "auto")


_ALL = (
    Option(
        name="precision",
        help="What the network computes in: fp32 is the reference, fp16 and bf16 are faster on GPUs.",
        default="auto",
        choices=("auto", "fp32", "fp16", "bf16"),
    ),
    Option(
        name="sigma_255",
        help="Strength of the noise, 0 to 50 in 8-bit units; for denoising models.",
        least=0.0,
        most=float(MAX_SIGMA_255),
        step=0.5,
    ),
    Option(
        name="factor",
        help="Frames that come out for each that goes in; for models that interpolate.",
        default=2,
        least=min(FACTORS),
        most=max(FACTORS),
        choices=FACTORS,
    ),
    Option(
        name="window_frames",
        help="Frames that the network sees together: more are steadier, and take more memory.",
        least=1,
        step=1,
        unit="frames",
    ),
    Option(
        name="overlap_frames",
        help="Frames that two windows share and are cross-faded over, at most half a window.",
        least=0,
        step=1,
        unit="frames",
    ),
    Option(
        name="tile_px",
        help="Size of the tiles that frames are cut into to save memory, a multiple of 8 px of the input; 0 for whole "
        "frames.",
        default="auto",
        least=0,
        step=1,
        unit="px",
    ),
    Option(
        name="tile_overlap_px",
        help="Pixels that two tiles share and are cross-faded over, a multiple of 8, at most half a tile.",
        least=0,
        step=1,
        unit="px",
    ),
    Option(
        name="cuts",
        help="Where scenes begin, over which nothing is mixed: found in the frames (auto), or nowhere (off).",
        default="auto",
        choices=("auto", "off"),
    ),
)

OPTIONS: Mapping[str, Option] = MappingProxyType({option.name: option for option in _ALL})
"""Every option by name."""
