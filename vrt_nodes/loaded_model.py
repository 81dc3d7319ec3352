"""A loaded model: the value of a VRT_MODEL connection, and its placement in memory by ComfyUI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management as mm
from comfy.model_patcher import ModelPatcher

from ._bridge import core, hardware, models

if TYPE_CHECKING:
    from vrt_core import ModelCard, RestoreOptions, Restorer


class LoadedModel:
    """A model of one network or several, which ComfyUI moves between host and device; holds no state of a run.

    Networks are reached through their patchers only. ComfyUI holds weak references to the patchers, and reports a
    memory leak for a network that outlives its patcher.
    """

    def __init__(self, name: str, files: Sequence[tuple[ModelCard | None, Path]], precision: str) -> None:
        """Read the weights.

        Args:
            name: Name of the model, for messages.
            files: Card and file of each network; without a card, it is read from the file.
            precision: One of the core's precisions.

        Raises:
            WeightsError: If a file is damaged or of another model.
        """
        self.name = name
        self.card = core.MODELS.get(name) if len(files) > 1 else None
        self.dtype = hardware.pick_dtype(precision, mm.get_torch_device())
        self.parts: list[tuple[ModelCard, Any]] = []
        for known_card, path in files:
            if known_card is None:
                card = models.card_for_file(path)
                network: Any = models.load_network(card, path)
            else:  # by name, so that a published sha256 is compared
                card, network = known_card, models.load_network(known_card, folder=path.parent)
            network.to_precision(self.dtype)  # before ComfyUI measures its size
            patcher = ModelPatcher(network, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device())
            self.parts.append((card, patcher))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the networks, in the order in which they run, by the names on model cards."""
        return tuple(card.task for card, _ in self.parts)


def make_restorer(loaded: Sequence[LoadedModel], options: RestoreOptions, clip_shape: tuple[int, int, int]) -> Restorer:
    """Let ComfyUI free memory and load the networks; return a restorer of them for one run.

    Args:
        loaded: Models that run one after another.
        options: Options of the run.
        clip_shape: (T, H, W) of the clip, in frames and pixels; T may be a guess.

    Raises:
        InputError: If an option is wrong, or if the models differ in precision.
    """
    parts = [part for model in loaded for part in model.parts]
    device, dtype = parts[0][1].load_device, loaded[0].dtype
    if any(model.dtype != dtype for model in loaded):
        raise core.InputError("model and interpolate_model differ in precision; choose the same in both loaders")
    cards = [card for card, _ in parts]
    needed_bytes = core.estimate_models_memory(cards, options, clip_shape, dtype, device)
    mm.load_models_gpu([patcher for _, patcher in parts], memory_required=needed_bytes, force_full_load=True)
    return core.make_restorer(  # moves what ComfyUI has not moved: with --novram, all of a plain torch module
        [(patcher.model, card) for card, patcher in parts],
        options,
        card=loaded[0].card if len(loaded) == 1 else None,
        device=device,
        dtype=dtype,
        is_oom=is_oom,
    )


def is_oom(error: BaseException) -> bool:
    """Return whether an error means that the device is out of memory."""
    comfy_is_oom = getattr(mm, "is_oom", None)  # from 0.17 on
    return bool(comfy_is_oom(error)) if comfy_is_oom else isinstance(error, mm.OOM_EXCEPTION)
