"""What a job is asked to do, and the reader of its input."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from vrt_core import RestoreOptions
from vrt_media.clip import IMAGE_SUFFIXES, FrameReader
from vrt_media.encoding import Encoding
from vrt_media.images import ImageReader
from vrt_media.reader import Trim, VideoReader

from .outputs import is_folder

MIN_SEGMENT_FRAMES = 16
"""Shortest segment: each begins with a keyframe, which takes more bytes than other frames."""


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """One input, one output, and everything that decides about the frames between them."""

    clip: str
    """Video, folder of images, image, address, or "-"."""
    output: str
    encoding: Encoding
    options: RestoreOptions = field(default_factory=RestoreOptions)
    start: int = 0
    """First frame to take."""
    frames: int | None = None
    """Frames to take at most."""
    rate: Fraction = Fraction(24)
    """Frames per second of images."""
    strict: bool = False
    """Whether damage ends the job."""
    overwrite: bool = False
    segment_frames: int | None = None
    """Output frames of a segment; None for the model's stride, and at least `MIN_SEGMENT_FRAMES`."""
    restart: bool = False
    """Whether an earlier job of this output is discarded."""

    @property
    def reads_images(self) -> bool:
        """Whether the input is an image or a folder of images."""
        path = Path(self.clip)
        return self.clip != "-" and (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES)

    @property
    def can_continue(self) -> bool:
        """Whether the input can be read again, and the output be made of segments."""
        path, output = Path(self.clip), Path(self.output)
        if self.clip == "-" or not (path.is_file() or path.is_dir()) or self.output == "-":
            return False
        return is_folder(self.output) or output.suffix.lower() not in (*IMAGE_SUFFIXES, ".y4m")

    def open_reader(self, device: Any = "cpu", **options: Any) -> FrameReader:
        """Open the input.

        Args:
            device: Device on which frames are converted and returned.
            options: Further arguments of the reader.

        Raises:
            MediaError: If it cannot be read.
        """
        if self.reads_images:
            return ImageReader(
                Path(self.clip), rate=self.rate, start=self.start, limit=self.frames, device=device, **options
            )
        trim = Trim(start_frame=self.start, max_frames=self.frames)
        return VideoReader(self.clip, trim, device=device, strict=self.strict, **options)
