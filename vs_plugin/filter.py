"""The filter as scripts call it: checks the arguments, loads the model on each device, and builds the graph."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import vapoursynth as vs

from vrt_core import RestoreOptions, VRTError, load_restorer
from vrt_core.hardware import pick_device, usable_bytes
from vrt_core.options import Precision, Sigma

from .arguments import FORMATS, check_choices, check_clip, check_sigma
from .errors import one_line
from .graph import build_graph
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
    strength: float = 1.0,
    chroma_strength: float | None = None,
) -> vs.VideoNode:
    """Restore a clip with a VRT model; the model determines whether frames are denoised, deblurred, enlarged, doubled.

    Every frame of the result depends on its number alone, not on the order of requests, and equals the frame that
    ``vrt restore`` computes from the same RGB frames. Frame properties are preserved. Values are neither scaled nor
    clamped.

    Models that interpolate double the frame rate (or more, see ``factor``): the frames of ``clip`` are unchanged,
    durations are halved, also those of clips with a variable frame rate, and the last frame of a scene is repeated,
    so that sound stays in sync.

    Args:
        clip: RGBS or RGBH of constant size, RGB in [0, 1].
        model: Name of a model (``vrt models`` lists them), or path of a file with its weights; several joined by "+"
            run one after another.
        sigma: Standard deviation of the noise in ``clip``, 0 to 50 in 8-bit units, for models that denoise: a number;
            a GRAYS or GRAYH clip as long and as large as ``clip``, with the level of each pixel; or "auto" to
            estimate it from the frames of each window.
        factor: Output frames per input frame, for models that interpolate: 2, 4 or 8.
        device: "auto", "cpu", "cuda", "cuda:1", ...; or several, as in ["cuda:0", "cuda:1"], which restore windows
            of the clip in turn.
        precision: Precision in which the model computes. "auto" is fp32 for RGBS; for RGBH it is fp16 on an
            accelerator that is faster in it, else fp32.
        window: Frames that the model sees together; the model's own number if None.
        overlap: Frames that two windows share and are cross-faded over; the model's own number if None.
        tile: Size of the tiles that frames are cut into, in pixels of ``clip``: one number, (height, width), 0 for
            whole frames, or "auto" for what the memory allows, shared by the windows that a device restores at once.
        tile_overlap: Pixels that two tiles share; the model's own number if None.
        cuts: Source of the scene cuts, across which nothing is mixed: "auto" detects them in the frames, as
            ``vrt restore`` does; "props" reads ``_SceneChangePrev`` and ``_SceneChangeNext``, set by an earlier
            filter; "off" assumes one scene.
        num_streams: Windows that each device restores at once. Each takes the memory of a network pass; more than one
            helps where one window does not keep the device busy. Then, and with several devices, request more frames
            at once: ``vspipe -r`` with (devices x num_streams x window), or as large a ``core.num_threads``.
        compile: Whether to compile the model with ``torch.compile``: the first window takes minutes, or seconds if
            torch's cache has the compiled model. For accelerators; on a CPU a pass takes a quarter longer.
        strength: Fraction of the restored frame in the result, 0 to 1, for models that restore frames; the rest is the
            frame of ``clip``, enlarged by a bicubic filter if need be.
        chroma_strength: The same for chroma alone; None: as ``strength``. Luma is that of BT.709.

    Returns:
        The restored clip, in the format of ``clip``; larger if the model enlarges, with more frames if it interpolates.

    Raises:
        vs.Error: If an argument is wrong or the model's weights are missing; the message says what to do.
    """
    check_clip(clip)
    devices = check_choices(
        model=model, device=device, precision=precision, cuts=cuts, num_streams=num_streams, compile=compile
    )
    if compile:  # VapourSynth prints all log messages, and torch's compiler cache logs every lock
        logging.getLogger("filelock").setLevel(logging.WARNING)
    try:
        options = RestoreOptions(
            precision=FORMATS[clip.format.id] if precision == "auto" else precision,
            window_frames=window,
            overlap_frames=overlap,
            tile_px=tile,
            tile_overlap_px=tile_overlap,
            factor=factor,
            compile=compile,
            strength=strength,
            chroma_strength=chroma_strength,
        )
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the video
            restorers = [
                load_restorer(
                    model,
                    options,
                    device=each,
                    memory_bytes=_memory_per_window(each, num_streams * devices.count(each)),
                )
                for each in devices
            ]
        check_sigma(sigma, clip, restorers[0], str(model))
        return build_graph(clip, restorers, sigma=sigma, cuts=cuts, num_streams=num_streams)
    except VRTError as error:
        raise vs.Error(f"vrt: {one_line(error)}") from error


def _memory_per_window(device: str, num_windows: int) -> int | None:
    """Return the bytes that each of ``num_windows`` concurrent windows may take; None: the core decides for one."""
    return usable_bytes(pick_device(device)) // num_windows if num_windows > 1 else None
