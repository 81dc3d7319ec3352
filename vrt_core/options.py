"""Settings of a restoration: one dataclass, from which the command line, the filter and the nodes derive theirs.

Importing this module does not import torch, so that a form or a help text appears at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .errors import InputError

if TYPE_CHECKING:
    import torch

MAX_SIGMA_255 = 50
"""Strongest noise that the denoising models are trained for, in 8-bit units."""

FACTORS = (2, 4, 8)
"""Output frames per input frame that interpolation offers."""

Precision = Literal["auto", "fp32", "fp16", "bf16"]
TilePx = Literal["auto"] | int | tuple[int, int]
"""Tile size: "auto", pixels, (height, width), or 0 for whole frames."""
Sigma = float | Literal["auto"]
"""Standard deviation of the noise, 0 to 50 in 8-bit units; "auto" estimates it from the frames."""
Cuts = Literal["auto", "off"] | Iterable[int]
"""Scene cuts: detected in the frames, none, or the first frame of each scene."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Option:
    """Description of one field of ``RestoreOptions``."""

    name: str
    """Name of the field."""
    help: str
    """One line for a form or a help text."""
    default: Any = None
    """Default value; None and "auto" leave the choice to the model or the engine."""
    min: float | None = None
    """Smallest value; None where the option is not a number."""
    max: float | None = None
    """Largest value; None where there is no limit."""
    step: float | None = None
    """Step of a number field; an int for whole numbers."""
    unit: str = ""
    choices: tuple[int | str, ...] = ()
    """All values, where they are few."""

    @property
    def is_automatic(self) -> bool:
        """Whether the default leaves the choice to the model or the engine."""
        return self.default in (None, "auto")


def _option(default: _T, help: str, **facts: Any) -> _T:
    """Return a dataclass field with the description of the option as its metadata."""
    return field(default=default, metadata={"help": help, **facts})


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """Every setting of a restoration, with its default. ``OPTIONS`` has range, unit and help of each.

    Raises:
        InputError: If a number is out of its range.
    """

    device: str | torch.device = _option(
        "auto", 'Device: "auto" (an accelerator if there is one), "cpu", "cuda", "cuda:1", "xpu", "mps".'
    )
    precision: Precision = _option(
        "auto",
        "What the network computes in: fp32 is the reference, fp16 and bf16 are faster on GPUs.",
        choices=("auto", "fp32", "fp16", "bf16"),
    )
    """"auto" is fp16 on an accelerator that is faster in it, else fp32. In fp32, torch decides about TF32:
    ``torch.set_float32_matmul_precision("high")`` allows it."""
    window_frames: int | None = _option(
        None,
        "Frames that the network sees together: more are steadier, and take more memory.",
        min=1,
        step=1,
        unit="frames",
    )
    """None: the model's own number."""
    overlap_frames: int | None = _option(
        None,
        "Frames that two windows share and are cross-faded over, at most half a window.",
        min=0,
        step=1,
        unit="frames",
    )
    """None: the model's own number."""
    tile_px: TilePx = _option(
        "auto",
        "Size of the tiles that frames are cut into to save memory, a multiple of 8 px of the input; 0 for whole "
        "frames.",
        min=0,
        step=1,
        unit="px",
    )
    """On the grid that each network reads: pixels, (height, width), 0 for whole frames, or "auto" for the largest that
    the memory allows. Tiles change the result a little, so give a number where it must be the same everywhere."""
    tile_overlap_px: int | None = _option(
        None,
        "Pixels that two tiles share and are cross-faded over, a multiple of 8, at most half a tile.",
        min=0,
        step=1,
        unit="px",
    )
    """None: a quarter of the tile and at most 32 px."""
    factor: int = _option(
        2,
        "Frames that come out for each that goes in; for models that interpolate.",
        min=min(FACTORS),
        max=max(FACTORS),
        choices=FACTORS,
    )
    """4 and 8 repeat the interpolation."""
    memory_bytes: int | None = _option(
        None, "Memory that a network pass may take, for automatic tiles.", min=1, step=1, unit="bytes"
    )
    """None: a fraction of the free memory of the device."""
    compile: bool = _option(
        False, "Compile the model first, which takes minutes once; for long clips on an accelerator."
    )
    """``torch.compile`` of the network's blocks, for whole windows. The first window of a tile size takes minutes, or
    seconds with torch's cache on disk. On a CPU, a pass takes a quarter longer."""
    sigma_255: Sigma | None = _option(
        None,
        "Strength of the noise, 0 to 50 in 8-bit units; for denoising models.",
        min=0.0,
        max=float(MAX_SIGMA_255),
        step=0.5,
    )
    """Standard deviation of the noise, for models that need it. "auto" estimates it for each window."""
    cuts: Cuts = _option(
        "auto",
        "Where scenes begin, over which nothing is mixed: found in the frames (auto), or nowhere (off).",
        choices=("auto", "off"),
    )
    """Or the first frame of each scene, counted from 0."""
    strength: float = _option(
        1.0,
        "How much of the restored frame to take, 0 to 1; the rest is the frame before, enlarged if need be.",
        min=0.0,
        max=1.0,
        step=0.05,
    )
    """For models that restore frames; in a chain, each of these mixes with what it read. Frames before are enlarged by
    a bicubic filter."""
    chroma_strength: float | None = _option(
        None,
        "The same for colour alone, where it is to differ from that of brightness.",
        min=0.0,
        max=1.0,
        step=0.05,
    )
    """None: as ``strength``, which is that of luma alone otherwise."""
    luma_weights: tuple[float, float] = _option(
        (0.2126, 0.0722),
        "Weights of red and blue in luma, by the matrix of the clip (Kr and Kb); for chroma_strength.",
    )
    """By default those of BT.709."""

    def __post_init__(self) -> None:
        """Reject numbers out of range, as far as no model is needed to tell."""
        check_factor(self.factor)
        check_fraction("strength", self.strength)
        if self.chroma_strength is not None:
            check_fraction("chroma_strength", self.chroma_strength)
        check_luma_weights(self.luma_weights)
        for name in ("window_frames", "overlap_frames", "memory_bytes"):
            option, value = OPTIONS[name], getattr(self, name)
            if value is not None:
                assert option.min is not None
                check_count(name, value, int(option.min), option.unit)
        if not isinstance(self.cuts, str):
            object.__setattr__(self, "cuts", tuple(self.cuts))


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {f.name: Option(name=f.name, default=f.default, **f.metadata) for f in fields(RestoreOptions)}
)
"""Description of every field of ``RestoreOptions``, by name."""


def check_count(name: str, value: object, min: int, unit: str = "") -> int:
    """Return ``value`` if it is a whole number of at least ``min``; else raise InputError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < min:
        unit = unit.removesuffix("s") if min == 1 else unit
        raise InputError(f"{name} ({value!r}) must be a whole number of at least {min}{unit and ' ' + unit}")
    return value


def check_fraction(name: str, value: object) -> None:
    """Raise InputError unless ``value`` is a number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InputError(f"{name} ({value!r}) must be a number from 0 to 1")


def check_luma_weights(weights: Any) -> None:
    """Raise InputError unless ``weights`` are those of red and blue, which leave some for green."""
    is_pair = isinstance(weights, tuple) and len(weights) == 2 and all(isinstance(x, (int, float)) for x in weights)
    if not is_pair or min(weights) < 0 or not sum(weights) < 1:
        raise InputError(f"luma_weights ({weights!r}) must be two numbers of at least 0, whose sum is less than 1")


def check_factor(factor: object) -> None:
    """Raise InputError unless interpolation offers so many output frames per input frame."""
    if factor not in FACTORS:
        raise InputError(f"factor ({factor!r}) must be 2, 4 or 8 output frames for each input frame")
