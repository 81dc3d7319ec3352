"""Finds the weights of a model on this machine, verifies them, and loads them into its network."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, WeightsError
from .cards import MODELS, ModelCard, shipped_dir
from .checkpoint import card_for_checkpoint, check_fit, matching_models, read_checkpoint, to_float32
from .digests import file_sha256, find_record

if TYPE_CHECKING:
    from torch import Tensor

    from ..network import VRT

_log = logging.getLogger(__name__)


def models_dir() -> Path:
    """Folder of downloaded models: ``$VRT_MODELS_DIR``, else ``vrt/models`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if folder := os.environ.get("VRT_MODELS_DIR"):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "vrt" / "models"


def find_weights(card: ModelCard, folder: str | Path | None = None) -> Path:
    """Path of a model's weights on this machine, converted or as released.

    Args:
        card: Of a single model, not of a chain.
        folder: Searched before the models folder and the shipped models.

    Raises:
        InputError: If the card is a chain.
        WeightsError: If there are no weights; the message lists the folders and says how to get them.
    """
    if card.links:
        raise InputError(f"model {card.name} has no weights of its own: it runs {' and '.join(card.links)}")
    folders = [models_dir()]
    if card.shipped:
        folders.insert(0, shipped_dir())
    if folder is not None:
        folders.insert(0, Path(folder))
    names = list(dict.fromkeys((card.converted_file, card.file)))
    for directory in folders:
        for name in names:
            if (directory / name).is_file():
                return directory / name
    if card.url:
        advice = f"get them with `vrt download {card.name}` (licence {card.licence})"
    elif card.shipped:
        advice = "they come with the project: reinstall it, or check out the whole repository"
    else:
        advice = "give the path of the file instead of the name"
    places = ", ".join(str(directory) for directory in dict.fromkeys(folders))
    raise WeightsError(f"no weights for {card.name}: looked for {' or '.join(names)} in {places}; {advice}")


def load_weights(
    card_or_path: ModelCard | str | Path, path: str | Path | None = None, *, folder: str | Path | None = None
) -> dict[str, Tensor]:
    """The verified parameters of a model: float32, on the CPU, without index buffers.

    Before parsing, a file that was found by name is compared with its published sha256, or else with the one recorded
    at its download. A file given by path is compared with the recorded one, if the record of its folder lists it.

    Args:
        card_or_path: A model's card, or the path of a file whose content determines the model.
        path: The file to read for the card; found by the card's name if None.
        folder: Searched first.

    Raises:
        WeightsError: If the file is missing, damaged, or of another model; the message says which.
    """
    if isinstance(card_or_path, ModelCard):
        card, file = card_or_path, Path(path) if path is not None else find_weights(card_or_path, folder)
        check_digest(file, card if path is None else None)
        checkpoint = read_checkpoint(file)
    else:
        file = Path(card_or_path)
        check_digest(file)
        checkpoint = read_checkpoint(file)
        card = card_for_checkpoint(checkpoint, file)
    check_fit(checkpoint, card, file)
    declared = checkpoint.metadata.get("model") or file.stem
    if declared != card.name and declared in list(MODELS):  # a list, because a file may declare what has no hash
        _log.warning("%s says that it is %s; loaded as %s, which is alike in shape", file, declared, card.name)
    return to_float32(checkpoint.tensors)


def check_digest(path: Path, card: ModelCard | None = None) -> None:
    """Compare the sha256 of a file with the published one, else with the recorded one; do nothing without either.

    Args:
        path: The file; the record is the one in its folder.
        card: Its published sha256 applies if the file has the released name.

    Raises:
        WeightsError: If they differ.
    """
    expected, source = None, ""
    if card is not None and card.sha256 and path.name == card.file:
        expected, source = card.sha256, "the model list"
    elif entry := find_record(path.parent, path.name):
        expected, source = entry["sha256"], "checksums.json beside it"
    if expected is None:
        return
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}") from error
    if actual != expected:
        raise WeightsError(
            f"{path} is damaged or was changed: its sha256 is {actual[:16]}..., but {expected[:16]}... in {source}; "
            "download it again"
        )


def load_network(card: ModelCard, path: str | Path | None = None, *, folder: str | Path | None = None) -> VRT:
    """Build a model's network and load its weights: float32, on the CPU, in eval mode.

    Args:
        card: Of a single model.
        path: The weights; found by the card's name if None.
        folder: Searched first.

    Raises:
        InputError: If the card is a component, which is no network alone.
        WeightsError: If the weights are missing, damaged, or of another model; the message says which.
    """
    from ..network import build_network

    if card.part:
        raise InputError(f"model {card.name} is a part of a network ({card.part}), which restores nothing alone")
    state = load_weights(card, path, folder=folder)
    network = build_network(**card.config)
    network.load_state_dict(state, strict=True)
    return network.eval()


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """Description of a weight file, from its content."""

    path: Path
    kind: str
    """Either "safetensors" or "torch"."""

    bytes: int
    """Size of the file."""

    sha256: str
    """Hexadecimal digest of the file, lower case."""

    names: tuple[str, ...]
    """Models with the shapes of the file, or the one of the card stored in it; may be empty."""

    card: ModelCard | None
    """The card that loading by path uses; None if the file fits no model."""

    parameters: int
    """Number of parameters; index buffers are not counted."""

    dtypes: dict[str, int]
    """Number of parameters by dtype: ``{"float32": 30676435}``."""

    metadata: dict[str, Any]
    """Facts that :func:`save_weights` stored in the file."""


def inspect_weights(path: str | Path) -> WeightsInfo:
    """Describe a weight file.

    Raises:
        WeightsError: If it is not a weights file, or a damaged one.
    """
    file = Path(path)
    checkpoint = read_checkpoint(file)
    dtypes: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        dtypes[str(tensor.dtype).removeprefix("torch.")] += math.prod(tensor.shape)
    try:
        card = card_for_checkpoint(checkpoint, file)
    except WeightsError:
        card = None
    names = matching_models(checkpoint.tensors) or ([card.name] if card else [])
    return WeightsInfo(
        path=file,
        kind=checkpoint.kind,
        bytes=file.stat().st_size,
        sha256=file_sha256(file),
        names=tuple(names),
        card=card,
        parameters=sum(dtypes.values()),
        dtypes=dict(dtypes),
        metadata=dict(checkpoint.metadata),
    )
