"""Messages of the core as a script's author should see them: on one line, with the arguments by our names."""

from __future__ import annotations

import re

_NAMES = {
    "name_or_path": "model",
    "sigma_255": "sigma",
    "window_frames": "window",
    "overlap_frames": "overlap",
    "tile_px": "tile",
    "tile_overlap_px": "tile_overlap",
}


def one_line(error: Exception) -> str:
    """Return the message of an error of the core."""
    words = " ".join(str(error).split())
    return re.sub(r"\w+", lambda word: _NAMES.get(word[0], word[0]), words)
