"""From a model's name to its network: where weight files are, whether they are the right ones, and loading them."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError, WeightsError
from .cards import MODELS, ModelCard, card_from_dict, manifest_path, read_manifest, shipped_dir
from .checkpoint import card_of, check_fit, identify, read_checkpoint, to_float32
from .digests import file_sha256, recorded, write_then_rename

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
        folder: Where to look first.

    Raises:
        InputError: If the card is a chain.
        WeightsError: If there are none; says where they were looked for, and how to get them.
    """
    if card.links:
        raise InputError(f"model {card.name} has no weights of its own: it runs {' and '.join(card.links)}")
    folders = [models_dir()]
    if card.shipped:
        folders.insert(0, shipped_dir())
    if folder is not None:
        folders.insert(0, Path(folder))
    names = list(dict.fromkeys((card.converted_file, card.file)))
    for place in folders:
        for name in names:
            if (place / name).is_file():
                return place / name
    if card.url:
        advice = f"get them with `vrt download {card.name}` (licence {card.licence})"
    elif card.shipped:
        advice = "they come with the project: reinstall it, or check out the whole repository"
    else:
        advice = "give the path of the file instead of the name"
    places = ", ".join(str(place) for place in dict.fromkeys(folders))
    raise WeightsError(f"no weights for {card.name}: looked for {' or '.join(names)} in {places}; {advice}")


def load_weights(
    card_or_path: ModelCard | str | Path, path: str | Path | None = None, *, folder: str | Path | None = None
) -> dict[str, Tensor]:
    """The parameters of a model: checked, in float32, on the CPU, without index buffers.

    A file found by name must have its published sha256, or the one recorded at its download, before it is
    parsed. A file given by path must have the recorded one, if its folder has a record of it.

    Args:
        card_or_path: A model's card, or the path of a file that says by its content which model it is.
        path: The file to read for the card; looked up if not given.
        folder: Where to look first.

    Raises:
        WeightsError: If the file is missing, damaged, or of another model; says which.
    """
    if isinstance(card_or_path, ModelCard):
        card, file = card_or_path, Path(path) if path is not None else find_weights(card_or_path, folder)
        check_digest(file, card if path is None else None)
        checkpoint = read_checkpoint(file)
    else:
        file = Path(card_or_path)
        check_digest(file)
        checkpoint = read_checkpoint(file)
        card = card_of(checkpoint, file)
    check_fit(checkpoint, card, file)
    told = checkpoint.about.get("model") or file.stem
    if told != card.name and told in MODELS:
        _log.warning("%s says that it is %s; loaded as %s, which is alike in shape", file, told, card.name)
    return to_float32(checkpoint.tensors)


def check_digest(path: Path, card: ModelCard | None = None) -> None:
    """Compare a file with its published or recorded sha256; without either there is nothing to compare.

    Args:
        path: The file; the record is looked for in its folder.
        card: Its published sha256 counts if the file has the released name.

    Raises:
        WeightsError: If they differ.
    """
    wanted, where = None, ""
    if card is not None and card.sha256 and path.name == card.file:
        wanted, where = card.sha256, "the model list"
    elif entry := recorded(path.parent, path.name):
        wanted, where = entry["sha256"], "checksums.json beside it"
    if wanted is None:
        return
    try:
        found = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}") from error
    if found != wanted:
        raise WeightsError(
            f"{path} is damaged or was changed: its sha256 is {found[:16]}..., but {wanted[:16]}... in {where}; "
            "download it again"
        )


def load_network(card: ModelCard, path: str | Path | None = None, *, folder: str | Path | None = None) -> nn.Module:
    """A model's network with its weights: float32, on the CPU, in eval mode.

    Args:
        card: Of a single model.
        path: Its weights; looked up by name if not given.
        folder: Where to look first.

    Raises:
        WeightsError: If the weights are missing, damaged, or of another model; says which.
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
    """What can be told of a weight file without running it."""

    path: Path
    kind: str
    """Either "safetensors" or "torch"."""

    bytes: int
    sha256: str
    names: tuple[str, ...]
    """Models whose shapes fit, or the one that the file itself describes; may be empty."""

    card: ModelCard | None
    """The card that loading by path would use; None if the file fits no model."""

    parameters: int
    """Numbers in the file, index buffers not counted."""

    dtypes: dict[str, int]
    """Numbers by type: ``{"float32": 30676435}``."""

    about: dict[str, Any]
    """What the file says of itself."""


def inspect_weights(path: str | Path) -> WeightsInfo:
    """Describe a weight file.

    Raises:
        WeightsError: If it is no weight file, or a damaged one.
    """
    file = Path(path)
    checkpoint = read_checkpoint(file)
    dtypes: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        dtypes[str(tensor.dtype).removeprefix("torch.")] += math.prod(tensor.shape)
    try:
        card = card_of(checkpoint, file)
    except WeightsError:
        card = None
    names = identify(checkpoint.tensors) or ([card.name] if card else [])
    return WeightsInfo(
        path=file,
        kind=checkpoint.kind,
        bytes=file.stat().st_size,
        sha256=file_sha256(file),
        names=tuple(names),
        card=card,
        parameters=sum(dtypes.values()),
        dtypes=dict(dtypes),
        about=dict(checkpoint.about),
    )


def record_weights(name: str, *, manifest: str | Path | None = None, **facts: Any) -> ModelCard:
    """Put a shipped model's new weights into the manifest: their size, digest and number of parameters.

    For makers of models, after an export with :func:`save_weights`. Adds the entry if there is none.

    Args:
        name: Of the model.
        manifest: The file to change; the project's own by default. The weights lie in the same folder.
        **facts: Fields of ModelCard to set as well, such as ``config``, ``file`` or ``description``.

    Returns:
        The new card.

    Raises:
        WeightsError: If the weights are missing, or do not fit the entry's config, or the entry makes no card.
    """
    path = Path(manifest) if manifest is not None else manifest_path()
    whole = json.loads(path.read_text(encoding="utf-8"))
    entry: dict[str, Any] | None = next((entry for entry in whole["models"] if entry["name"] == name), None)
    if entry is None:
        entry = {"name": name}
        whole["models"].append(entry)
    entry.update(facts)
    card = card_from_dict(entry, str(path))
    weights = path.parent / card.file
    checkpoint = read_checkpoint(weights)
    check_fit(checkpoint, card, weights)
    entry["bytes"] = weights.stat().st_size
    entry["sha256"] = file_sha256(weights)
    entry["parameters"] = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    # A list of numbers on one line. A raw newline never stands inside a JSON string.
    text = re.sub(r"\[\n\s+([^\[\]{}]*?)\n\s+\]", lambda m: "[" + re.sub(r"\n\s+", " ", m[1]) + "]", text)
    write_then_rename(path, f"{text}\n".encode())
    read_manifest.cache_clear()
    return card_from_dict(entry, str(path))
