"""The input of a command: a video, standard input, a folder of images, or one image."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vrt_media.clip import IMAGE_SUFFIXES, FrameReader
from vrt_media.crop import Crop
from vrt_media.deinterlacing import Deinterlace, Fields, choose_fields
from vrt_media.images import ImageReader
from vrt_media.interlacing import measure_fields
from vrt_media.reader import Trim, VideoReader

from .errors import JobError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InputSource:
    """What is read, with every setting that its frames depend on: whoever opens it gets the same frames."""

    clip: str
    """File, folder, or - for standard input."""
    rate: Fraction
    """Frames per second of images."""
    start: int = 0
    """Number of the first frame."""
    limit: int | None = None
    """Maximum number of frames."""
    strict: bool = False
    """Whether damage ends the reading."""
    crop: Crop | None = None
    fields: Fields | None = None
    """Frames to deinterlace, from `fields_of`."""

    @property
    def reads_images(self) -> bool:
        """Whether the input is an image or a folder of images."""
        return is_images(self.clip)

    def open(
        self, device: "torch.device | str" = "cpu", on_note: Callable[[str], object] = _log.warning
    ) -> FrameReader:
        """Open the input.

        Args:
            device: Device on which frames are converted and returned.
            on_note: Called with each thing that the user should know, but that does not stop the reader.

        Raises:
            MediaError: If it cannot be read, or if there is no such part in it.
        """
        if is_images(self.clip):
            return ImageReader(
                Path(self.clip),
                rate=self.rate,
                start=self.start,
                limit=self.limit,
                device=device,
                on_note=on_note,
                crop=self.crop,
            )
        return VideoReader(
            self.clip,
            Trim(start_frame=self.start, max_frames=self.limit),
            device=device,
            on_note=on_note,
            strict=self.strict,
            crop=self.crop,
            fields=self.fields,
        )


def is_images(clip: str) -> bool:
    """Return whether an input is a folder of images or one image."""
    path = Path(clip)
    return clip != "-" and (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES)


def fields_of(clip: str, mode: Deinterlace) -> Fields | None:
    """Return which frames of an input to deinterlace; tell the user what its frames show.

    What can be read once only is not measured: its flags decide.

    Raises:
        JobError: If images are to be deinterlaced.
        MediaError: If the input cannot be read.
    """
    if is_images(clip):
        if mode == "on":
            raise JobError("--deinterlace on: images are not deinterlaced; leave it out")
        return None
    if clip == "-" or "://" in clip:
        by_flags: dict[Deinterlace, Fields | None] = {"off": None, "auto": "flagged", "on": "all"}
        return by_flags[mode]
    fields, note = choose_fields(mode, measure_fields(clip))
    if note:
        _log.warning("%s %s%s", clip, note, "; see --deinterlace" if note.endswith("whole frames only") else "")
    return fields
