"""Loading: from the name of a model or the path of its weights to a restorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .errors import InputError
from .hardware.devices import pick_device, pick_dtype
from .inference.runner import INTERPOLATION_FRAMES, FrameInterpolator, FrameRestorer, ModelRunner
from .inference.strength import Strength
from .inference.tile_executor import TileExecutor
from .inference.window_plan import check_window
from .models.cards import ModelCard, find_model
from .models.checkpoint import WEIGHT_SUFFIXES, card_for_file
from .models.store import load_network
from .network import VRT
from .options import FACTORS, RestoreOptions
from .restorer import Restorer

IsOutOfMemory = Callable[[BaseException], bool]
"""Tells whether an exception means that the device is out of memory."""


def load_restorer(
    name_or_path: str | Path,
    options: RestoreOptions | None = None,
    *,
    folder: str | Path | None = None,
    is_oom: IsOutOfMemory | None = None,
    **overrides: Any,
) -> Restorer:
    """Load a model and return a restorer.

    Args:
        name_or_path: Name of a model, or the beginning of one; path of a weights file; several of these joined by "+",
            which run one after another (enlarge, then interpolate).
        options: Settings; the defaults if None.
        folder: Folder in which weights are looked up first.
        is_oom: Tells a host's out-of-memory errors; torch's own are known.
        **overrides: Fields of ``RestoreOptions`` that differ from ``options``.

    Raises:
        InputError: If an argument is wrong.
        WeightsError: If weights are missing or damaged; the message says how to get them.
    """
    options = override_options(options, overrides)
    device = pick_device(options.device)
    dtype = pick_dtype(options.precision, device)
    files, card = _find_files(name_or_path)
    return make_restorer(
        [(load_network(card, path, folder=folder), card) for card, path in files],
        options,
        card=card,
        device=device,
        dtype=dtype,
        is_oom=is_oom,
    )


def override_options(options: RestoreOptions | None, overrides: dict[str, Any]) -> RestoreOptions:
    """Return the options with some fields replaced.

    Raises:
        InputError: If a field is unknown or out of its range.
    """
    try:
        return replace(options or RestoreOptions(), **overrides)
    except TypeError:
        known = RestoreOptions.__dataclass_fields__
        unknown = next((name for name in overrides if name not in known), None)
        if unknown is None:
            raise
        raise InputError(f"unknown option {unknown!r}: known are {', '.join(known)}") from None


def make_restorer(
    networks: Sequence[tuple[VRT, ModelCard]],
    options: RestoreOptions | None = None,
    *,
    card: ModelCard | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    is_oom: IsOutOfMemory | None = None,
) -> Restorer:
    """Return a restorer of networks that are loaded already; they are moved and cast in place if needed.

    A restorer is light: a host may make one for each clip, of networks that it keeps.

    Args:
        networks: Networks with their cards, in the order in which they run.
        options: Settings; ``device`` and ``precision`` are replaced by the arguments of this function.
        card: Card of the whole, if it has a name of its own.
        device: Device of the networks; the CPU if None.
        dtype: Precision of the networks.
        is_oom: As in ``load_restorer``.

    Raises:
        InputError: If an option is wrong, or card and network do not fit each other.
    """
    options = options or RestoreOptions()
    cards = [model_card for _, model_card in networks]
    name = card.name if card else "+".join(model_card.name for model_card in cards)
    if options.factor != 2 and all(model_card.task != "interpolate" for model_card in cards):
        raise InputError(f"factor ({options.factor}) was given, but model {name} does not interpolate; leave it out")
    if all(model_card.task == "interpolate" for model_card in cards) and not (
        options.window_frames is None and options.overlap_frames is None
    ):
        raise InputError(f"window_frames and overlap_frames do not apply to model {name}, which always sees 4 frames")
    runners: list[ModelRunner] = []
    for network, model_card in networks:
        runner = make_runner(network, model_card, options, device=device, dtype=dtype, is_oom=is_oom)
        repeats = FACTORS.index(options.factor) + 1 if runner.frame_factor == 2 else 1
        runners += [runner] * repeats
    return Restorer(runners, card, options)


def make_runner(
    network: VRT,
    card: ModelCard,
    options: RestoreOptions,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    is_oom: IsOutOfMemory | None = None,
) -> ModelRunner:
    """Return a runner of one network; arguments as in ``make_restorer``.

    Raises:
        InputError: If an option is wrong, or card and network do not fit each other.
    """
    interpolates = network.config.interpolates
    if interpolates != (card.task == "interpolate"):
        does = "interpolates" if interpolates else "does not interpolate"
        raise InputError(f"model {card.name} is for the task {card.task!r}, but its network {does}")
    window = card.window_frames if options.window_frames is None else options.window_frames
    overlap = min(card.overlap_frames, window // 2) if options.overlap_frames is None else options.overlap_frames
    if not interpolates:
        check_window(window, overlap)
    executor = TileExecutor(
        network,
        card.name,
        options,
        device=device or torch.device("cpu"),
        dtype=dtype,
        window_frames=INTERPOLATION_FRAMES if interpolates else window,
        is_oom=is_oom,
    )
    if interpolates:
        return FrameInterpolator(card, executor)
    strength = Strength.from_options(options)
    return FrameRestorer(card, executor, window_frames=window, overlap_frames=overlap, strength=strength)


def _find_files(name_or_path: str | Path) -> tuple[list[tuple[ModelCard, Path | None]], ModelCard | None]:
    """Return card and file (None: look it up) of each network, and the card of a named chain."""
    if isinstance(name_or_path, Path) or Path(name_or_path).is_file():
        path = Path(name_or_path)
        return [(card_for_file(path), path)], None
    files: list[tuple[ModelCard, Path | None]] = []
    chain_card = None
    for part in name_or_path.split("+"):
        if part.strip().endswith(WEIGHT_SUFFIXES):
            path = Path(part.strip())
            files.append((card_for_file(path), path))
            continue
        card = find_model(part.strip())
        files += [(find_model(name), None) for name in card.links] or [(card, None)]
        chain_card = card if card.links and "+" not in name_or_path else None
    return files, chain_card
