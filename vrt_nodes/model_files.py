"""Where models are: models/vrt in ComfyUI, what ships with the project, and the official names."""

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
    """Tell ComfyUI of models/vrt, and make it; folders that its user has configured for "vrt" are kept."""
    folder = os.path.join(folder_paths.models_dir, FOLDER)
    folder_paths.add_model_folder_path(FOLDER, folder)
    folders = folder_paths.folder_names_and_paths[FOLDER][0]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, set(models.WEIGHT_SUFFIXES))  # else every file counts
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)


def model_names() -> list[str]:
    """Return what the loader lists: the models known by name, then files in the folders that are none of these."""
    known = {name for card in core.MODELS.values() for name in (card.file, card.converted_file)}
    return [*core.MODELS, *(name for name in folder_paths.get_filename_list(FOLDER) if name not in known)]


def find_parts(model_name: str) -> list[tuple[ModelCard | None, Path]]:
    """Return the files that a model consists of, in the order in which they work.

    Args:
        model_name: One of ``model_names``.

    Returns:
        Card and file of each network; of a file that is not known by name, the card is None.

    Raises:
        WeightsError: If a file is missing; says how to get it and where to put it.
    """
    if card := core.MODELS.get(model_name):
        cards = [core.MODELS[link] for link in card.links] or [card]
        return [(part, _find(part)) for part in cards]
    path = folder_paths.get_full_path(FOLDER, model_name)
    if path is None:
        raise core.WeightsError(
            f"model_name ({model_name!r}) is neither a model known by name nor a file in {_places()}; put the file "
            "there, press R to refresh, and choose it again"
        )
    return [(None, Path(path))]


def model_state(model_name: str) -> list[tuple[str, int, int]]:
    """Return path, time and size of a model's files, which tell whether it must be loaded again."""
    stats = [(path, path.stat()) for _, path in find_parts(model_name)]
    return [(str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats]


def _find(card: ModelCard) -> Path:
    for folder in folder_paths.get_folder_paths(FOLDER):
        with suppress(core.WeightsError):
            return core.find_weights(card, folder)
    if not card.url:
        return core.find_weights(card)  # says what is wrong
    target = Path(folder_paths.get_folder_paths(FOLDER)[0]) / card.file
    size = f", {card.bytes / 1e6:.0f} MB" if card.bytes else ""
    raise core.WeightsError(
        f"the weights of {card.name} are not here yet: official models do not ship with VRT (licence {card.licence}"
        f'{size}). Download them with: curl -L --create-dirs -o "{target}" "{card.url}" - or put {card.file} into '
        f"{_places()} by hand; then run again"
    )


def _places() -> str:
    return " or ".join(folder_paths.get_folder_paths(FOLDER))
