"""Folders below one base, which tests set."""

import os
from pathlib import Path

models_dir = ""
base = Path()
folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}


def set_base(folder: Path) -> None:
    global base, models_dir
    base, models_dir = folder, str(folder / "models")
    folder_names_and_paths.clear()


def get_temp_directory() -> str:
    return str(base / "temp")


def get_output_directory() -> str:
    return str(base / "output")


def get_input_directory() -> str:
    return str(base / "input")


def add_model_folder_path(folder_name: str, full_folder_path: str) -> None:
    folders, _ = folder_names_and_paths.setdefault(folder_name, ([], set()))
    if full_folder_path not in folders:
        folders.append(full_folder_path)


def get_folder_paths(folder_name: str) -> list[str]:
    return folder_names_and_paths[folder_name][0][:]


def get_filename_list(folder_name: str) -> list[str]:
    folders, suffixes = folder_names_and_paths[folder_name]
    files = (p for folder in folders for p in sorted(Path(folder).glob("*")))
    return [p.name for p in files if not suffixes or p.suffix in suffixes]


def get_full_path(folder_name: str, filename: str) -> str | None:
    paths = (os.path.join(folder, filename) for folder in get_folder_paths(folder_name))
    return next((path for path in paths if os.path.isfile(path)), None)


def get_save_image_path(
    prefix: str, output_dir: str, width: int = 0, height: int = 0
) -> tuple[str, str, int, str, str]:
    folder, stem = Path(output_dir) / Path(prefix).parent, Path(prefix).name
    folder.mkdir(parents=True, exist_ok=True)
    counters = [int(p.name.split("_")[1]) for p in folder.glob(f"{stem}_*")]
    return str(folder), stem, max(counters, default=0) + 1, str(Path(prefix).parent), prefix
