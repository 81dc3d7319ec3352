"""Folders of images, and single images, in and out."""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch
from av.error import FFmpegError
from torch import Tensor

from vrt_media.colour import FULL, RGB, Colour, colour_of
from vrt_media.planes import read_rgb, write_rgb

from .clip import IMAGE_SUFFIXES, ClipFacts, MediaError, Picture

CODECS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
"""What can be written: the lossless formats that hold 8 and 16 bits."""


def natural_key(path: Path) -> list[str | int]:
    """Sorts frame2 before frame10."""
    return [int(part) if part.isdigit() else part.casefold() for part in re.split(r"(\d+)", path.name)]


def list_images(folder: Path) -> list[Path]:
    """The images of a folder in natural order.

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


def read_image(path: Path) -> av.VideoFrame:
    """Decode one image.

    Raises:
        MediaError: If it cannot be decoded.
    """
    try:
        with av.open(str(path)) as container:
            return next(container.decode(video=0))
    except (FFmpegError, StopIteration, IndexError) as error:
        raise MediaError(f"{path}: not an image that can be read ({error or 'no picture in it'})") from None


class ImageSource:
    """The images of a folder, or one image, as a clip.

    Attributes:
        facts: Size, colour and length; the rate is the one given.
        names: File names without suffix, one per frame.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction,
        start: int = 0,
        limit: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """List the images, and read the first.

        Args:
            path: Folder or image.
            rate: Frames per second that they are shown at.
            start: Images to leave out at the beginning.
            limit: Images to give at most; all if None.
            device: Where they are converted and left.

        Raises:
            MediaError: If there are none, or the first cannot be read.
        """
        self._paths = (list_images(path) if path.is_dir() else [path])[start:][:limit]
        if not self._paths:
            raise MediaError(f"{path}: no image {start} in it")
        self._device = device
        self.names = [p.stem for p in self._paths]
        frame = read_image(self._paths[0])
        self.facts = ClipFacts(
            height=frame.height,
            width=frame.width,
            colour=colour_of(frame),
            pix_fmt=frame.format.name,
            rate=rate,
            time_base=1 / rate,
            num_frames=len(self._paths),
        )

    def pictures(self, on_packet: Callable[[Any], None]) -> Iterator[Picture]:
        """The images in order; there are no packets.

        Raises:
            MediaError: If one cannot be read, or has another size than the first.
        """
        size = (self.facts.height, self.facts.width)
        for number, path in enumerate(self._paths):
            frame = read_image(path)
            if (frame.height, frame.width) != size:
                raise MediaError(
                    f"{path}: {frame.width}x{frame.height} pixels, but {self._paths[0].name} has "
                    f"{size[1]}x{size[0]}; all images of a clip need one size"
                )
            yield Picture(read_rgb(frame, colour_of(frame), device=self._device), number)

    def close(self) -> None:
        """Nothing is held open."""


class ImageSink:
    """A folder of images in the making, or one image; each appears under its name when it is complete.

    Attributes:
        num_frames: Images written so far.
    """

    def __init__(self, path: Path, *, names: Iterator[str], deep: bool, suffix: str = ".png") -> None:
        """Make the folder.

        Args:
            path: Folder; or the file itself if it has one of the suffixes of `CODECS`, for a single image.
            names: A name for each image, without suffix.
            deep: 16 bits per channel instead of 8.
            suffix: Kind of file, one of `CODECS`.
        """
        self.num_frames = 0
        self._single = path if path.suffix.lower() in CODECS else None
        self._folder = path.parent if self._single else path
        self._suffix = path.suffix.lower() if self._single else suffix
        self._names = names
        big_endian = CODECS[self._suffix] == "png"
        self._pix_fmt = ("rgb48be" if big_endian else "rgb48le") if deep else "rgb24"
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write one image, (3, H, W); the stamp has no place in it.

        Raises:
            MediaError: If a second image is to go into a single file.
        """
        if self._single and self.num_frames:
            raise MediaError(f"{self._single}: more than one frame; give a folder to hold them")
        path = self._single or self._folder / f"{next(self._names)}{self._suffix}"
        write_image(rgb, path, self._pix_fmt)
        self.num_frames += 1

    def copy(self, packet: Any) -> None:
        """Images have no other streams."""

    def close(self, *, whole: bool = True) -> None:
        """Every image is already complete."""

    def discard(self) -> None:
        """Leave the folder if anything is in it."""
        if not self._single and not any(self._folder.iterdir()):
            self._folder.rmdir()


def write_image(rgb: Tensor, path: Path, pix_fmt: str = "rgb24") -> None:
    """Write (3, H, W) as PNG or TIFF, by the suffix, under a temporary name first."""
    colour = Colour(matrix=RGB, full_range=True)
    frame = write_rgb(rgb, pix_fmt, colour)
    encoder = av.CodecContext.create(CODECS[path.suffix.lower()], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, pix_fmt
    encoder.time_base, encoder.color_range = Fraction(1), FULL
    data = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
