"""A loaded model: what a VRT_MODEL link carries, and how ComfyUI places it in memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management as mm
import torch
from comfy.model_patcher import ModelPatcher

from ._bridge import core

if TYPE_CHECKING:
    from vrt_core import ModelCard, Restorer

_log = logging.getLogger(__name__)


class Handle:
    """A model whose networks ComfyUI moves between computer and device; holds nothing of a run.

    Networks are reached through their patchers alone: ComfyUI keeps only weak references to these, and takes a network
    that outlives its patcher for a leak.
    """

    def __init__(self, name: str, parts: Sequence[tuple[ModelCard | None, Path]], precision: str) -> None:
        """Read the files.

        Args:
            name: For messages.
            parts: Card (None: the file tells) and file of each network.
            precision: One of the core's.

        Raises:
            WeightsError: If a file is damaged or of another model.
        """
        self.name = name
        self.card = core.MODELS.get(name) if len(parts) > 1 else None
        self.dtype = core.pick_dtype(precision, mm.get_torch_device())
        self.parts: list[tuple[ModelCard, Any]] = []
        for known, path in parts:
            card = known or core.card_for_file(path)
            network: Any = core.load_network(card, path)
            network.to_precision(self.dtype)  # before ComfyUI measures it
            patcher = ModelPatcher(network, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device())
            self.parts.append((card, patcher))

    @property
    def tasks(self) -> tuple[str, ...]:
        """What its networks do, in order; names as on model cards."""
        return tuple(card.task for card, _ in self.parts)


def make_restorer(handles: Sequence[Handle], num_frames: int, height: int, width: int, **settings: Any) -> Restorer:
    """Let ComfyUI make room and load the networks, then make a restorer of them for one run.

    Args:
        handles: Models that work one after another.
        num_frames: Frames of the clip, or a guess.
        height: Of its frames, pixels.
        width: Likewise.
        settings: Options of ``vrt_core.make_restorer``.

    Raises:
        InputError: If an option is wrong, or the models are in different precisions.
    """
    parts = [part for handle in handles for part in handle.parts]
    device, dtype = parts[0][1].load_device, handles[0].dtype
    if any(handle.dtype != dtype for handle in handles):
        raise core.InputError("model and interpolate_model differ in precision; choose the same in both loaders")
    needed = _needed_bytes([card for card, _ in parts], num_frames, height, width, dtype, device, settings)
    _log.info("loading %s: about %d MiB for its work", "+".join(h.name for h in handles), needed >> 20)
    mm.load_models_gpu([patcher for _, patcher in parts], memory_required=needed, force_full_load=True)
    # The core moves what is still elsewhere: with --novram, ComfyUI moves nothing of a plain torch module.
    return core.make_restorer(
        [(patcher.model, card) for card, patcher in parts],
        handles[0].card if len(handles) == 1 else None,
        device=device,
        dtype=dtype,
        is_oom=is_oom,
        **settings,
    )


def is_oom(error: BaseException) -> bool:
    """Return whether an error says that the device is out of memory."""
    known = getattr(mm, "is_oom", None)  # from 0.17 on
    return bool(known(error)) if known else isinstance(error, mm.OOM_EXCEPTION)


def _needed_bytes(
    cards: Sequence[ModelCard],
    num_frames: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device,
    settings: dict[str, Any],
) -> int:
    """Return what the work takes beside the weights, with the tiles asked for or else with whole frames."""
    most = 0
    for card in cards:
        config = core.VRTConfig.from_mapping(card.config)
        frames = min(settings.get("window_frames") or card.window_frames, num_frames)
        tile = settings.get("tile_px", "auto")
        rows, columns = (min(side, tile) if isinstance(tile, int) and tile > 0 else side for side in (height, width))
        frames = 4 if card.task == "interpolate" else frames
        most = max(most, core.estimate_memory(config, frames, rows, columns, dtype, device=device))
        if card.task != "interpolate":
            most = max(most, core.estimate_flow_memory(config, height, width))
        height, width = card.scale * height, card.scale * width
    return most
