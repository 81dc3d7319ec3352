"""Files of the models: in models/vrt of ComfyUI, shipped with the project, or official ones."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths

from ._bridge import core, models

if TYPE_CHECKING:
    from vrt_core import ModelCard

FOLDER = "vrt"


def add_model_folder() -> None:
    """Register and create models/vrt, in addition to folders that the user has configured for "vrt"."""
    folder = os.path.join(folder_paths.models_dir, FOLDER)
    folder_paths.add_model_folder_path(FOLDER, folder)
    folders = folder_paths.folder_names_and_paths[FOLDER][0]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, set(models.WEIGHT_SUFFIXES))  # else every file counts
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)


def model_names() -> list[str]:
    """Return the choices of the loader: models known by name, then other files in the folders."""
    known_files = {name for card in core.MODELS.values() for name in (card.file, card.converted_file)}
    return [*core.MODELS, *(name for name in folder_paths.get_filename_list(FOLDER) if name not in known_files)]


def find_model_files(model_name: str) -> list[tuple[ModelCard | None, Path]]:
    """Return card and file of each network of a model, in the order in which they run.

    Args:
        model_name: One of ``model_names``; the API may give anything.

    Returns:
        The pairs; the card of a file that is not known by name is None.

    Raises:
        WeightsError: If a file is missing; the message says how to get it and where to put it.
    """
    if isinstance(model_name, str) and (card := core.MODELS.get(model_name)):
        cards = [core.MODELS[link] for link in card.links] or [card]
        return [(part, _find(part)) for part in cards]
    path = folder_paths.get_full_path(FOLDER, model_name) if isinstance(model_name, str) else None
    if path is None:
        raise core.WeightsError(
            f"model_name ({model_name!r}) is neither a model known by name nor a file in {_places()}; put the file "
            "there, press R to refresh, and choose it again"
        )
    return [(None, Path(path))]


def model_state(model_name: str) -> list[tuple[str, int, int]]:
    """Return path, time and size of a model's files; if they change, it must be loaded again."""
    stats = [(path, path.stat()) for _, path in find_model_files(model_name)]
    return [(str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats]


def _find(card: ModelCard) -> Path:
    for folder in folder_paths.get_folder_paths(FOLDER):
        with suppress(core.WeightsError):
            return models.find_weights(card, folder)
    if not card.url:
        return models.find_weights(card)  # says what is wrong
    target = Path(folder_paths.get_folder_paths(FOLDER)[0]) / card.file
    size = f", {card.bytes / 1e6:.0f} MB" if card.bytes else ""
    raise core.WeightsError(
        f"the weights of {card.name} are not here yet: official models do not ship with VRT (licence {card.licence}"
        f'{size}). Download them with: curl -L --create-dirs -o "{target}" "{card.url}" - or put {card.file} into '
        f"{_places()} by hand; then run again"
    )


def _places() -> str:
    return " or ".join(folder_paths.get_folder_paths(FOLDER))
