"""What all working nodes share: checking what they were given, before anything is loaded, and clips in tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management as mm
import torch
from torch import Tensor

from ._bridge import core
from .loaded_model import Handle, make_restorer
from .run_progress import Monitor
from .widgets import AUTOMATIC, from_fields

ONE_FRAME = "one frame only: there are no neighbours to learn from"

NODES_OF_TASKS = {
    "denoise": "VRT Restore",
    "deblur": "VRT Restore",
    "sr": "VRT Restore",
    "interpolate": "VRT Interpolate",
    "space-time-sr": "VRT Space-Time SR",
}


def check_model(handle: Any, node: str, tasks: Sequence[str]) -> None:
    """Raise InputError unless a model is for what a node does.

    Args:
        handle: From Load VRT Model.
        node: Its display name.
        tasks: Model tasks that it can work with; "space-time-sr" is enlarging and interpolating in one model.
    """
    task = _task_of(handle)
    if task not in tasks:
        raise core.InputError(
            f"model {handle.name} is for the task {task!r}; {node} takes models for {' or '.join(tasks)}: choose "
            f"another one in Load VRT Model, or use {NODES_OF_TASKS.get(task, 'VRT Restore Video')}"
        )


def run_settings(handles: Sequence[Handle], fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what fields mean to the core: options of the restorer, and options of its doors.

    Raises:
        InputError: If the models take no such option.
    """
    settings = from_fields(fields)
    names = "+".join(handle.name for handle in handles)
    tasks = [task for handle in handles for task in handle.tasks]
    doors = {name: settings.pop(name) for name in ("sigma_255", "cuts") if name in settings}
    needs_sigma = "denoise" in tasks
    if doors.get("sigma_255") is None:
        doors["sigma_255"] = "auto" if needs_sigma else None
    elif not needs_sigma:
        raise core.InputError(
            f"sigma_255 ({doors['sigma_255']:g}) was given, but model {names} takes no noise level; set sigma_255 to "
            f"{AUTOMATIC}"
        )
    if settings.get("factor", 2) != 2 and "interpolate" not in tasks:
        raise core.InputError(
            f"factor ({settings['factor']}) was given, but model {names} does not interpolate; set factor to 2, which "
            "it does not use"
        )
    return settings, doors


def restore_images(handles: Sequence[Handle], images: Tensor, fields: dict[str, Any]) -> Tensor:
    """Send a batch of images through models.

    Args:
        handles: Models that work one after another.
        images: (T, H, W, C), C 3 or 4, in [0, 1].
        fields: What the node's fields hold, by name of option.

    Returns:
        (factor * T, scale * H, scale * W, 3), in [0, 1], where ComfyUI keeps images.

    Raises:
        InputError: If an input is wrong.
    """
    settings, doors = run_settings(handles, fields)
    T, H, W = check_images(images)
    if T == 1 and any("interpolate" in handle.tasks for handle in handles):
        raise core.InputError("images holds 1 frame; new frames are made between two, so give it 2 or more")
    monitor = Monitor()
    if images.shape[-1] == 4:
        monitor.note("the images are RGBA: colour is restored, alpha is left out")
    if T == 1:
        monitor.note(ONE_FRAME)
    restorer = make_restorer(handles, T, H, W, **settings)
    monitor.expect(restorer.frame_factor * T)
    shape = restorer.frame_factor * T, restorer.scale * H, restorer.scale * W, 3
    restored = torch.empty(shape, dtype=_image_dtype(), device=mm.intermediate_device())
    frames = (image[..., :3].movedim(-1, 0).float() for image in images)
    results = restorer.stream(frames, num_frames=T, on_step=monitor.on_step, check=monitor.check, **doors)
    for n, frame in enumerate(results):
        frame = frame.clamp(0, 1)
        restored[n] = frame.movedim(0, -1)
        monitor.on_frame(frame)
    monitor.finish()
    return restored


def check_images(images: Tensor, name: str = "images") -> tuple[int, int, int]:
    """Return (T, H, W) of a batch of images; raise InputError if it is none, by the name of the input."""
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
    """Return what ComfyUI keeps images in: float32, unless its user asks for less."""
    known = getattr(mm, "intermediate_dtype", None)  # from 0.18 on
    return known() if known else torch.float32


def _task_of(handle: Handle) -> str:
    return handle.tasks[0] if len(handle.tasks) == 1 else "space-time-sr"
