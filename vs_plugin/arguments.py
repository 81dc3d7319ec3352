"""Validation of the filter's arguments; each error names the value, the rule and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import vapoursynth as vs

from vrt_core import OPTIONS
from vrt_core.options import Precision

from .scene_props import CutSource

if TYPE_CHECKING:
    from vrt_core import Restorer

FORMATS: dict[int, Precision] = {int(vs.RGBS): "fp32", int(vs.RGBH): "auto"}
"""Accepted formats, and the precision that ``precision="auto"`` selects for each."""


def check_clip(clip: object) -> None:
    """Raise vs.Error unless models can read the clip."""
    if not isinstance(clip, vs.VideoNode):
        raise vs.Error(f"vrt: clip must be a video node, got {type(clip).__name__}")
    if clip.format.id == vs.NONE or clip.width == 0:
        raise vs.Error(
            "vrt: clip must have one format and size, got a variable one; make it constant first, e.g. "
            "clip.resize.Bicubic(width=1280, height=720, format=vs.RGBS, matrix_in_s='709')"
        )
    if clip.format.id not in FORMATS:
        matrix = "" if clip.format.color_family == vs.RGB else ", matrix_in_s='709'"
        raise vs.Error(
            f"vrt: clip must be RGBS or RGBH, got {clip.format.name}; convert first, e.g. "
            f"clip.resize.Bicubic(format=vs.RGBS{matrix})"
        )
    check_in_memory(clip, "clip")


def check_choices(
    *, model: object, device: object, precision: object, cuts: object, num_streams: object, compile: object
) -> list[str]:
    """Return the names of the devices; raise vs.Error if an argument has a wrong type or is not among its choices."""
    if not isinstance(model, (str, Path)):
        raise vs.Error(f"vrt: model must be a name or the path of a weights file, got {model!r}")
    if not isinstance(compile, bool):
        raise vs.Error(f"vrt: compile must be True or False, got {compile!r}")
    choices = {"cuts": get_args(CutSource), "precision": OPTIONS["precision"].choices}
    for name, value in (("cuts", cuts), ("precision", precision)):
        if value not in choices[name]:
            raise vs.Error(f"vrt: {name} must be one of {', '.join(map(str, choices[name]))}, got {value!r}")
    if not isinstance(num_streams, int) or isinstance(num_streams, bool) or num_streams < 1:
        raise vs.Error(f"vrt: num_streams must be a whole number of at least 1 window, got {num_streams!r}")
    listed: Sequence[object] = device if isinstance(device, (list, tuple)) else [device]
    devices = [each for each in listed if isinstance(each, str)]
    if not devices or len(devices) < len(listed):
        raise vs.Error(f"vrt: device must be a name or a list of names, e.g. ['cuda:0', 'cuda:1'], got {device!r}")
    return devices


def check_sigma(sigma: object, clip: vs.VideoNode, restorer: Restorer, model: str) -> None:
    """Raise vs.Error if the noise level does not suit the model or the clip."""
    max_sigma = OPTIONS["sigma_255"].max
    assert max_sigma is not None
    if not restorer.needs_sigma:
        if sigma is not None:
            raise vs.Error(f"vrt: model {model!r} takes no sigma, got {_name(sigma)}; leave it out")
    elif sigma is None:
        raise vs.Error(
            f"vrt: model {model!r} needs sigma, the strength of the noise in 8-bit units, e.g. sigma=20, or "
            "sigma='auto' to have it estimated"
        )
    elif isinstance(sigma, vs.VideoNode):
        _check_sigma_clip(sigma, clip)
        first, *others = restorer.runners
        if not first.needs_sigma or any(runner.needs_sigma for runner in others):
            raise vs.Error(
                f"vrt: a clip as sigma is for the first model of a chain alone, and model {model!r} is not such a "
                "chain; call restore for each of its models"
            )
    elif sigma != "auto" and not (
        isinstance(sigma, Real) and not isinstance(sigma, bool) and 0 <= float(sigma) <= max_sigma
    ):
        raise vs.Error(
            f"vrt: sigma must be a number from 0 to {max_sigma:g}, in 8-bit units, 'auto', or a clip, got "
            f"{_name(sigma)}"
        )


def _check_sigma_clip(sigma: vs.VideoNode, clip: vs.VideoNode) -> None:
    if sigma.format.id not in (vs.GRAYS, vs.GRAYH):
        raise vs.Error(
            f"vrt: sigma must be GRAYS or GRAYH with the level of each pixel in 8-bit units, got {sigma.format.name}; "
            "e.g. mask.resize.Point(format=vs.GRAYS).std.Expr('x 20 *')"
        )
    expected, given = (f"{node.width}x{node.height} px and {node.num_frames} frames" for node in (clip, sigma))
    if given != expected:
        raise vs.Error(f"vrt: sigma must be as large and as long as clip, {expected}, got {given}")
    check_in_memory(sigma, "sigma")


def check_in_memory(clip: vs.VideoNode, name: str) -> None:
    """Raise vs.Error for a clip whose frames are in GPU memory."""
    if getattr(clip, "gpu_resident", False):  # VapourSynth R80 and later
        raise vs.Error(f"vrt: {name} must be in main memory, got one on the GPU; use {name}.std.GPUDownload() first")


def _name(sigma: object) -> str:
    return "a clip" if isinstance(sigma, vs.VideoNode) else repr(sigma)
