"""What a job is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vrt_core import RestoreOptions
from vrt_media.clip import IMAGE_SUFFIXES
from vrt_media.encoding import Encoding

from .inputs import InputSource
from .outputs import is_folder


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """One input, one output, and everything that decides about the frames between them."""

    source: InputSource
    output: str
    model: str = ""
    """Name or file, as the user gave it."""
    encoding: Encoding
    options: RestoreOptions = field(default_factory=RestoreOptions)
    overwrite: bool = False
    segment_frames: int | None = None
    """Output frames of a segment; None for 250 or fewer, by the space that they take until it is finished."""
    restart: bool = False
    """Whether an earlier job of this output is discarded."""

    @property
    def can_continue(self) -> bool:
        """Whether the input can be read again, and the output be made of segments."""
        clip, output = self.source.clip, Path(self.output)
        if clip == "-" or not (Path(clip).is_file() or Path(clip).is_dir()) or self.output == "-":
            return False
        return is_folder(self.output) or output.suffix.lower() not in (*IMAGE_SUFFIXES, ".exr", ".y4m")
