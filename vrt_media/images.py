"""Reader of image folders and single images."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import torch
from av.error import FFmpegError
from av.sidedata.sidedata import Type

from .clip import IMAGE_SUFFIXES, ClipInfo, MediaError, TimedFrame, ignore
from .colour import LINEAR, colour_of
from .crop import Crop, whole_frame
from .encoding import bit_depth
from .numbering import describe_gaps
from .orientation import upright, upright_size
from .planes import read_rgb
from .tiff import read_directory

_log = logging.getLogger(__name__)


def natural_key(path: Path) -> list[str | int]:
    """Return a sort key that puts frame2 before frame10."""
    return [int(part) if part.isdigit() else part.casefold() for part in re.split(r"(\d+)", path.name)]


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order.

    Raises:
        MediaError: If there are none.
    """
    paths = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")),
        key=natural_key,
    )
    if not paths:
        raise MediaError(f"{folder}: no images in it ({', '.join(IMAGE_SUFFIXES)})")
    return paths


def is_tiff(path: Path) -> bool:
    """Return whether the name of a file is that of a TIFF file."""
    return path.suffix.lower() in (".tif", ".tiff")


def unique_names(paths: list[Path]) -> list[str]:
    """Return a name for each file: its stem, or its whole name where stems are equal but for upper and lower case."""
    stems = Counter(path.stem.casefold() for path in paths)
    names = [path.stem if stems[path.stem.casefold()] == 1 else path.name for path in paths]
    taken: set[str] = set()
    for n, name in enumerate(names):
        numbers = count(2)
        while names[n].casefold() in taken:
            names[n] = f"{name}_{next(numbers)}"
        taken.add(names[n].casefold())
    return names


def read_image(path: Path) -> av.VideoFrame:
    """Decode one image.

    Raises:
        MediaError: If it cannot be decoded.
    """
    if is_tiff(path) and (directory := read_directory(path)) and directory.is_half_float:  # libav takes them for whole
        raise MediaError(f"{path}: floating-point samples of 16 bits are not read from TIFF; convert to 32 bits or EXR")
    try:
        with path.open("rb") as file, av.open(file, "r") as container:  # a name is neither a pattern nor a protocol
            return next(container.decode(video=0))
    except (FFmpegError, StopIteration, IndexError) as error:
        raise MediaError(f"{path}: not an image that can be read ({error or 'no picture in it'})") from None


class ImageReader:
    """Reads the images of a folder, or one image, as a clip; a `FrameReader`.

    Attributes:
        info: Size, colour and length of the clip, and the rate it was opened with.
        names: A name for each frame: that of its file, without suffix unless two would be equal then.
        paths: The files.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction,
        start: int = 0,
        limit: int | None = None,
        device: torch.device | str = "cpu",
        on_note: Callable[[str], object] = _log.warning,
        crop: Crop | None = None,
    ) -> None:
        """List the images, and read the first.

        Args:
            path: Folder or image.
            rate: Frames per second.
            start: Number of the first image.
            limit: Maximum number of images; all if None.
            device: Device on which images are converted and returned.
            on_note: Called with each thing that the user should know, but that does not stop the reader.
            crop: Part of each upright image to read; all of it if None.

        Raises:
            MediaError: If there are no images, or if the first cannot be read, or if the crop does not lie in it.
        """
        self.paths = (list_images(path) if path.is_dir() else [path])[start:][:limit]
        if not self.paths:
            raise MediaError(f"{path}: no image {start} in it")
        self._device, self._on_note = device, on_note
        self._noted: set[str] = set()
        self.names = unique_names(self.paths)
        if gaps := describe_gaps(self.paths):
            on_note(f"{path}: its numbering has gaps ({gaps}); the clip goes on over them")
        frame = read_image(self.paths[0])
        self._size = height, width = upright_size(frame)
        self._crop = crop.within(height, width, str(self.paths[0])) if crop else whole_frame(height, width)
        self.info = ClipInfo(
            height=self._crop.height,
            width=self._crop.width,
            colour=colour_of(frame),
            pix_fmt=frame.format.name if _is_deep(frame) or not any(map(_is_deep_file, self.paths)) else "rgb48le",
            rate=rate,
            time_base=1 / rate,
            num_frames=len(self.paths),
        )

    def frames(
        self, on_packet: Callable[[Any], object], *, skip: int = 0, on_skipped: Callable[[int | None], object] = ignore
    ) -> Iterator[TimedFrame]:
        """Iterate over the images in order; there are no packets, and those that are skipped are not read.

        Raises:
            MediaError: If an image cannot be read, or has another size than the first.
        """
        size = self._size
        for number, path in enumerate(self.paths):
            if number < skip:
                on_skipped(number)
                continue
            frame = read_image(path)
            height, width = upright_size(frame)
            if (height, width) != size:
                raise MediaError(
                    f"{path}: {width}x{height} pixels, but {self.paths[0].name} has "
                    f"{size[1]}x{size[0]}; all images of a clip need one size"
                )
            self._note(path, frame)
            rgb = upright(read_rgb(frame, colour_of(frame), device=self._device), frame)  # (3, H, W)
            yield TimedFrame(self._crop.cut(rgb), number)

    def _note(self, path: Path, frame: av.VideoFrame) -> None:
        """Tell once what is left out of images."""
        facts = {
            "its alpha channel is left out": any(c.is_alpha for c in frame.format.components),
            "its colour profile (ICC) is left out, its colours are taken as they are": Type.ICC_PROFILE
            in frame.side_data,
            "only the first of its pages is read": is_tiff(path) and _has_pages(path),
            "its light is linear and taken as it is, whereas models are trained on gamma-encoded pictures": int(
                getattr(frame, "color_trc", 0)
            )
            == LINEAR,
        }
        for text, is_true in facts.items():
            if is_true and text not in self._noted:
                self._noted.add(text)
                self._on_note(f"{path}: {text}; the same goes for further images")

    def stop(self) -> None:
        """Do nothing: files do not keep anybody waiting."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def _is_deep(frame: av.VideoFrame) -> bool:
    return bit_depth(frame.format.name) > 8


def _is_deep_file(path: Path) -> bool:
    """Return whether an image has more than 8 bits per channel, by its header where it can have."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        with path.open("rb") as file:
            return file.read(25)[24:] == b"\x10"
    return suffix == ".exr" or (is_tiff(path) and path.stat().st_size > 0 and _is_deep(read_image(path)))


def _has_pages(path: Path) -> bool:
    directory = read_directory(path)
    return directory is not None and directory.has_next
