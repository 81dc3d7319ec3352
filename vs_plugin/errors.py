"""Error messages of the core in the form that VapourSynth reports: one line, with the filter's argument names."""

from __future__ import annotations

import re

_ARGUMENT_NAMES = {
    "name_or_path": "model",
    "sigma_255": "sigma",
    "window_frames": "window",
    "overlap_frames": "overlap",
    "tile_px": "tile",
    "tile_overlap_px": "tile_overlap",
}


def one_line(error: Exception) -> str:
    """Return the message of an error of the core on one line, with the names of the filter's arguments."""
    message = " ".join(str(error).split())
    return re.sub(r"\w+", lambda word: _ARGUMENT_NAMES.get(word[0], word[0]), message)
