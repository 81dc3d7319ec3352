"""Execution of the nodes: checks of their inputs, before anything is loaded, and restoration of image batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import comfy.model_management as mm
import torch
from torch import Tensor

from ._bridge import core
from .loaded_model import LoadedModel, is_oom, make_restorer
from .run_progress import RunProgress
from .widgets import AUTOMATIC, options_from_widgets

if TYPE_CHECKING:
    from vrt_core import RestoreOptions

_log = logging.getLogger(__name__)

ONE_FRAME = "one frame only: there are no neighbours to learn from"

NODES_OF_TASKS = {
    "denoise": "VRT Restore",
    "deblur": "VRT Restore",
    "sr": "VRT Restore",
    "interpolate": "VRT Interpolate",
    "space-time-sr": "VRT Space-Time SR",
}


def check_model(model: Any, node: str, tasks: Sequence[str]) -> None:
    """Check that a model is for one of the tasks of a node.

    Args:
        model: From Load VRT Model.
        node: Display name of the node.
        tasks: Tasks of the node; "space-time-sr" is a model that enlarges and interpolates.

    Raises:
        InputError: If it is for another task.
    """
    task = _task_of(model)
    if task not in tasks:
        raise core.InputError(
            f"model {model.name} is for the task {task!r}; {node} takes models for {' or '.join(tasks)}: choose "
            f"another one in Load VRT Model, or use {NODES_OF_TASKS.get(task, 'VRT Restore Video')}"
        )


def run_options(models: Sequence[LoadedModel], widgets: dict[str, Any]) -> RestoreOptions:
    """Return the core's options for a run.

    Args:
        models: Models that run one after another.
        widgets: Values of the node's widgets, by name of the option.

    Raises:
        InputError: If the models do not have one of the options.
    """
    options = options_from_widgets(widgets)
    names = "+".join(model.name for model in models)
    tasks = [task for model in models for task in model.tasks]
    if options.sigma_255 is not None and "denoise" not in tasks:
        raise core.InputError(
            f"sigma_255 ({options.sigma_255:g}) was given, but model {names} takes no noise level; set sigma_255 to "
            f"{AUTOMATIC}"
        )
    if options.factor != 2 and "interpolate" not in tasks:
        raise core.InputError(
            f"factor ({options.factor}) was given, but model {names} does not interpolate; set factor to 2, which "
            "it does not use"
        )
    if {options.strength, options.chroma_strength} - {1, None} and set(tasks) == {"interpolate"}:
        raise core.InputError(
            f"strength or chroma_strength was given, but model {names} interpolates: its frames have no frame before "
            f"to be mixed with; set them to 1 and {AUTOMATIC}"
        )
    is_automatic = options.sigma_255 is None and "denoise" in tasks
    return replace(options, sigma_255="auto") if is_automatic else options


@contextmanager
def comfyui_out_of_memory() -> Iterator[None]:
    """Raise the error of torch instead of the engine's: ComfyUI then unloads all models and gives its own advice."""
    try:
        yield
    except core.VRTError as error:
        cause = error.__cause__
        if cause is None or not is_oom(cause):
            raise
        _log.error("%s", error)
        raise cause from None


@comfyui_out_of_memory()
def restore_images(models: Sequence[LoadedModel], images: Tensor, widgets: dict[str, Any]) -> Tensor:
    """Restore a batch of images.

    Args:
        models: Models that run one after another.
        images: (T, H, W, C), C 3 or 4, in [0, 1].
        widgets: Values of the node's widgets, by name of the option.

    Returns:
        (factor * T, scale * H, scale * W, 3), in [0, 1], on the device and in the dtype of ComfyUI's images.

    Raises:
        InputError: If an input is wrong.
    """
    options = run_options(models, widgets)
    T, H, W = check_images(images)
    if T == 1 and any("interpolate" in model.tasks for model in models):
        raise core.InputError("images holds 1 frame; new frames are made between two, so give it 2 or more")
    progress = RunProgress()
    if images.shape[-1] == 4:
        progress.warn_user("the images are RGBA: colour is restored, alpha is left out")
    if T == 1:
        progress.warn_user(ONE_FRAME)
    restorer = make_restorer(models, options, (T, H, W))
    progress.start(restorer.frame_factor * T, restorer, (H, W))
    shape = restorer.frame_factor * T, restorer.scale * H, restorer.scale * W, 3
    restored = torch.empty(shape, dtype=_image_dtype(), device=mm.intermediate_device())
    frames = (image[..., :3].movedim(-1, 0).float() for image in images)  # (H, W, C) -> (3, H, W) each
    results = restorer.stream(frames, num_frames=T, on_step=progress.on_step, check=progress.check)
    for n, frame in enumerate(results):
        frame = frame.clamp(0, 1)
        restored[n] = frame.movedim(0, -1)  # (3, H, W) -> (H, W, 3)
        progress.on_frame(frame)
    progress.finish()
    return restored


def check_images(images: Tensor, name: str = "images") -> tuple[int, int, int]:
    """Return (T, H, W) of a batch of images.

    Raises:
        InputError: If it is not a batch of RGB or RGBA images; `name` is the name of the input.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or 0 in shape:
        raise core.InputError(
            f"{name} has shape {shape}, expected at least one frame, (frames, height, width, colours)"
        )
    if shape[3] not in (3, 4):
        raise core.InputError(
            f"{name} has {shape[3]} colour channels; VRT takes RGB, or RGBA without its alpha: convert it first"
        )
    return shape[:3]


def _image_dtype() -> torch.dtype:
    """Return the dtype of ComfyUI's images: float32, unless its user chose another one."""
    intermediate_dtype = getattr(mm, "intermediate_dtype", None)  # from 0.18 on
    return intermediate_dtype() if intermediate_dtype else torch.float32


def _task_of(model: LoadedModel) -> str:
    return model.tasks[0] if len(model.tasks) == 1 else "space-time-sr"
