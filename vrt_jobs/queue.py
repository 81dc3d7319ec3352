"""Inputs and outputs of several restorations in a row."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vrt_media.clip import IMAGE_SUFFIXES, MediaError

VIDEO_SUFFIXES = (
    *(".mkv", ".mp4", ".m4v", ".mov", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob"),
    *(".wmv", ".asf", ".flv", ".ogv", ".3gp", ".mxf", ".y4m", ".dv", ".nut"),
)
"""Suffixes of the files that are taken from a folder."""
KEPT_SUFFIXES = (".mkv", ".mp4", ".m4v", ".mov", ".webm", ".ts", ".nut")
"""Containers in which an output can be written, so that it gets that of its input; others become Matroska."""


def expand_inputs(inputs: Sequence[str]) -> list[str]:
    """Return the clips that a command names: files, patterns of file names, and folders of videos.

    A folder with images is one clip. A name that is a file is never a pattern.

    Raises:
        MediaError: If there is no such file or folder, or if nothing fits a pattern.
    """
    clips: list[str] = []
    for name in inputs:
        path = Path(name)
        if name == "-" or "://" in name or path.is_file():
            clips.append(name)
        elif path.is_dir():
            clips += _videos_of(path) or [name]
        elif glob.has_magic(name):
            matches = sorted(glob.glob(name, recursive=True))
            if not matches:
                raise MediaError(f"{name}: no file has such a name")
            clips += matches
        else:
            raise MediaError(f"{name}: no such file or folder")
    return list(dict.fromkeys(clips))


def outputs_in(folder: Path, clips: Sequence[str], suffix: str | None = None) -> list[str]:
    """Return an output for each clip.

    Args:
        folder: Where the outputs are to be.
        clips: Videos, and folders of images, which become folders.
        suffix: Suffix that selects the container; None for that of each input.

    Raises:
        MediaError: If two outputs would have one name.
    """
    outputs = []
    for clip in clips:
        path = Path(clip)
        if path.is_dir():
            outputs.append(folder / path.name)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            outputs.append(folder / f"{path.stem}.png")
        else:
            kept = path.suffix.lower() if path.suffix.lower() in KEPT_SUFFIXES else ".mkv"
            outputs.append(folder / f"{path.stem}{suffix or kept}")
    for output, number in Counter(str(output).casefold() for output in outputs).items():
        if number > 1:
            raise MediaError(f"{number} inputs would become {output}; restore them one by one")
    return [str(output) for output in outputs]


def _videos_of(folder: Path) -> list[str]:
    """Return the videos of a folder without images, sorted."""
    paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in paths):
        return []
    return sorted(str(path) for path in paths if path.suffix.lower() in VIDEO_SUFFIXES)
