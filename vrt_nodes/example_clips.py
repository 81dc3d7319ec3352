"""Clips for the workflows that need a video: copied to ComfyUI's input folder, where Load Video finds them."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

import folder_paths

_log = logging.getLogger(__name__)

CLIPS = Path(__file__).parent / "clips"


def copy_example_clips() -> None:
    """Copy each clip, unless the folder has a file of that name; do without where that is not possible."""
    folder = Path(folder_paths.get_input_directory())
    for clip in sorted(CLIPS.glob("*.mp4")):
        target = folder / clip.name
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            if not target.exists():
                shutil.copyfile(clip, part)
                part.replace(target)
        except OSError as error:
            _log.info("the example clip %s could not be copied: %s", target, error)
            with suppress(OSError):
                part.unlink()
