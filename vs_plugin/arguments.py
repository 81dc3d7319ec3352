"""The arguments of the filter, refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import vapoursynth as vs

from vrt_core import OPTIONS

from .scene_props import CutSource

if TYPE_CHECKING:
    from vrt_core import Restorer

Precision = Literal["auto", "fp32", "fp16", "bf16"]

FORMATS: dict[int, Precision] = {int(vs.RGBS): "fp32", int(vs.RGBH): "auto"}
"""Formats of clips, and what models compute in for them: half only where it is faster, which on a CPU it is not."""


def check_clip(clip: object) -> None:
    """Raise vs.Error for a clip that no model could take."""
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
    """Return the devices, each by its name; raise vs.Error if an argument is none of what it can be."""
    if not isinstance(model, (str, Path)):
        raise vs.Error(f"vrt: model must be a name or the path of a weights file, got {model!r}")
    if not isinstance(compile, bool):
        raise vs.Error(f"vrt: compile must be True or False, got {compile!r}")
    for name, value, kind in (("cuts", cuts, CutSource), ("precision", precision, Precision)):
        if value not in get_args(kind):
            raise vs.Error(f"vrt: {name} must be one of {', '.join(get_args(kind))}, got {value!r}")
    if not isinstance(num_streams, int) or isinstance(num_streams, bool) or num_streams < 1:
        raise vs.Error(f"vrt: num_streams must be a whole number of at least 1 window, got {num_streams!r}")
    listed: Sequence[object] = device if isinstance(device, (list, tuple)) else [device]
    devices = [each for each in listed if isinstance(each, str)]
    if not devices or len(devices) < len(listed):
        raise vs.Error(f"vrt: device must be a name or a list of names, e.g. ['cuda:0', 'cuda:1'], got {device!r}")
    return devices


def check_sigma(sigma: object, clip: vs.VideoNode, restorer: Restorer, model: str) -> None:
    """Raise vs.Error if the noise level does not go with the model or the clip."""
    most = OPTIONS["sigma_255"].most
    assert most is not None
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
        if [link.needs_sigma for link in restorer.links].index(True) or sum(x.needs_sigma for x in restorer.links) > 1:
            raise vs.Error(
                f"vrt: a clip as sigma is for the first model of a chain alone, and model {model!r} is not such a "
                "chain; call restore for each of its models"
            )
    elif sigma != "auto" and (not isinstance(sigma, Real) or isinstance(sigma, bool) or not 0 <= float(sigma) <= most):
        raise vs.Error(
            f"vrt: sigma must be a number from 0 to {most:g}, in 8-bit units, 'auto', or a clip, got {_name(sigma)}"
        )


def _check_sigma_clip(sigma: vs.VideoNode, clip: vs.VideoNode) -> None:
    if sigma.format.id not in (vs.GRAYS, vs.GRAYH):
        raise vs.Error(
            f"vrt: sigma must be GRAYS or GRAYH with the level of each pixel in 8-bit units, got {sigma.format.name}; "
            "e.g. mask.resize.Point(format=vs.GRAYS).std.Expr('x 20 *')"
        )
    ours, theirs = ((node.width, node.height, node.num_frames) for node in (sigma, clip))
    if ours != theirs:
        wanted, got = ("{}x{} px and {} frames".format(*facts) for facts in (theirs, ours))
        raise vs.Error(f"vrt: sigma must be as large and as long as clip, {wanted}, got {got}")
    check_in_memory(sigma, "sigma")


def check_in_memory(clip: vs.VideoNode, name: str) -> None:
    """Raise vs.Error for a clip whose frames lie on a GPU."""
    if getattr(clip, "gpu_resident", False):  # from R80 on
        raise vs.Error(f"vrt: {name} must be in main memory, got one on the GPU; use {name}.std.GPUDownload() first")


def _name(sigma: object) -> str:
    return "a clip" if isinstance(sigma, vs.VideoNode) else repr(sigma)
