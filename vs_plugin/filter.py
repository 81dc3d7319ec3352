"""The filter as scripts call it: loads the model on every device, and hands over to the graph."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import vapoursynth as vs

from vrt_core import Sigma, VRTError, load_restorer, pick_device, usable_bytes

from .arguments import FORMATS, Precision, check_choices, check_clip, check_sigma
from .errors import one_line
from .graph import restored
from .scene_props import CutSource


def restore(
    clip: vs.VideoNode,
    *,
    model: str | Path = "denoise-small",
    sigma: Sigma | vs.VideoNode | None = None,
    factor: int = 2,
    device: str | Sequence[str] = "auto",
    precision: Precision = "auto",
    window: int | None = None,
    overlap: int | None = None,
    tile: int | tuple[int, int] | Literal["auto"] = "auto",
    tile_overlap: int | None = None,
    cuts: CutSource = "auto",
    num_streams: int = 1,
    compile: bool = False,
) -> vs.VideoNode:
    """Restore a clip with a VRT model: the model decides whether it is denoised, deblurred, enlarged, interpolated.

    Every frame of the result depends on its number alone, in whatever order frames are asked for, and is the one that
    ``vrt restore`` makes of the same RGB frames. Frame properties stay as they are. Values are neither scaled nor
    clamped.

    Models that interpolate double the frame rate (or more, see ``factor``): the frames of ``clip`` stay as they are,
    durations are halved, also those of clips with a variable rate, and the last frame of a scene is shown twice, so
    that sound stays in place.

    Args:
        clip: RGBS or RGBH of constant size, RGB in [0, 1].
        model: Name of a model (``vrt models`` lists them), or path of a file with its weights; several joined by "+"
            work one after another.
        sigma: Standard deviation of the noise in ``clip``, 0 to 50 in 8-bit units, for models that denoise: a number;
            a GRAYS or GRAYH clip of it, as long and as large as ``clip``, a level for each pixel; or "auto" to
            estimate it from the frames of each window.
        factor: Frames that come out for each that goes in, for models that interpolate: 2, 4 or 8.
        device: "auto", "cpu", "cuda", "cuda:1", ...; or several, as in ["cuda:0", "cuda:1"], which take turns at the
            windows of the clip.
        precision: What the model computes in. "auto" is fp32 for RGBS, and for RGBH fp16 on an accelerator that is
            faster in it.
        window: Frames that the model sees at once; the model's own default if None.
        overlap: Frames that two neighbouring windows share and are cross-faded over; the model's default if None.
        tile: Size of the tiles that a frame is cut into, in pixels of ``clip``: one number, (height, width), 0 for
            whole frames, or "auto" for what the memory allows, shared by the windows that a device restores at once.
        tile_overlap: Pixels that two neighbouring tiles share; the model's default if None.
        cuts: Where scene cuts come from, which no frame is restored across: "auto" looks for them in the frames, as
            ``vrt restore`` does; "props" takes ``_SceneChangePrev`` and ``_SceneChangeNext`` as a filter before this
            one has set them; "off" knows of none.
        num_streams: Windows that each device restores at once. More than one takes as much more memory, and helps
            where one window does not keep the device busy. Then, and with several devices, ask for more frames at
            once: ``vspipe -r`` with (devices x num_streams x window), or as large a ``core.num_threads``.
        compile: Whether to compile the model with ``torch.compile``: the first window takes minutes, or seconds where
            torch's cache has it from before. For accelerators; on a CPU a pass takes a quarter longer.

    Returns:
        The restored clip, in the format of ``clip``; larger than it if the model enlarges, with more frames if it
        interpolates.

    Raises:
        vs.Error: If an argument does not fit, or the model is not there; the message says what to do.
    """
    check_clip(clip)
    devices = check_choices(
        model=model, device=device, precision=precision, cuts=cuts, num_streams=num_streams, compile=compile
    )
    if compile:  # VapourSynth prints whatever is logged, and the compiler's cache tells of every lock
        logging.getLogger("filelock").setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the video
            restorers = [
                load_restorer(
                    model,
                    device=each,
                    precision=FORMATS[clip.format.id] if precision == "auto" else precision,
                    window_frames=window,
                    overlap_frames=overlap,
                    tile_px=tile,
                    tile_overlap_px=tile_overlap,
                    factor=factor,
                    memory_bytes=_share_of_memory(each, num_streams * devices.count(each)),
                    compile=compile,
                )
                for each in devices
            ]
        check_sigma(sigma, clip, restorers[0], str(model))
        return restored(clip, restorers, sigma=sigma, cuts=cuts, num_streams=num_streams)
    except VRTError as error:
        raise vs.Error(f"vrt: {one_line(error)}") from error


def _share_of_memory(device: str, num_windows: int) -> int | None:
    """Return what each of so many windows at once may take on a device; None leaves it to the core."""
    return usable_bytes(pick_device(device)) // num_windows if num_windows > 1 else None
