"""Clips for the workflows that need a video: copied to ComfyUI's input folder, where Load Video finds them."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ._bridge import clip, part_file

_log = logging.getLogger(__name__)

CLIPS = Path(__file__).parent / "clips"


def copy_example_clips() -> None:
    """Copy each clip, unless the folder has a file of that name; do without where that is not possible."""
    folder = Path(folder_paths.get_input_directory())
    for source in sorted(CLIPS.glob("*.mp4")):
        target = folder / source.name
        if target.exists():
            continue
        try:
            part = part_file.PartFile(target)
            try:
                part.write(source.read_bytes())
                part.publish(overwrite=False)
            except BaseException:
                part.discard()
                raise
        except (OSError, clip.MediaError) as error:
            _log.info("the example clip %s could not be copied: %s", target, error)
