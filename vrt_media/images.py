"""Readers and writers of image folders and single images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch
from av.error import FFmpegError
from torch import Tensor

from .clip import IMAGE_SUFFIXES, ClipInfo, MediaError, TimedFrame
from .colour import FULL, RGB, Colour, colour_of
from .planes import read_rgb, write_rgb

CODECS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
"""Encoder of each suffix that can be written: lossless formats of 8 and 16 bits."""


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


class ImageReader:
    """Reads the images of a folder, or one image, as a clip; a `FrameReader`.

    Attributes:
        info: Size, colour and length of the clip, and the rate it was opened with.
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
            rate: Frames per second.
            start: Number of the first image.
            limit: Maximum number of images; all if None.
            device: Device on which images are converted and returned.

        Raises:
            MediaError: If there are no images, or if the first cannot be read.
        """
        self._paths = (list_images(path) if path.is_dir() else [path])[start:][:limit]
        if not self._paths:
            raise MediaError(f"{path}: no image {start} in it")
        self._device = device
        self.names = [p.stem for p in self._paths]
        frame = read_image(self._paths[0])
        self.info = ClipInfo(
            height=frame.height,
            width=frame.width,
            colour=colour_of(frame),
            pix_fmt=frame.format.name,
            rate=rate,
            time_base=1 / rate,
            num_frames=len(self._paths),
        )

    def frames(self, on_packet: Callable[[Any], object]) -> Iterator[TimedFrame]:
        """Iterate over the images in order; there are no packets.

        Raises:
            MediaError: If an image cannot be read, or has another size than the first.
        """
        size = (self.info.height, self.info.width)
        for number, path in enumerate(self._paths):
            frame = read_image(path)
            if (frame.height, frame.width) != size:
                raise MediaError(
                    f"{path}: {frame.width}x{frame.height} pixels, but {self._paths[0].name} has "
                    f"{size[1]}x{size[0]}; all images of a clip need one size"
                )
            yield TimedFrame(read_rgb(frame, colour_of(frame), device=self._device), number)

    def close(self) -> None:
        """Do nothing: no file is open."""


class ImageWriter:
    """Writes a folder of images, or one image; a `FrameWriter`. A file gets its name when it is complete.

    Attributes:
        num_frames: Images written so far.
    """

    def __init__(self, path: Path, *, names: Iterator[str], deep: bool, suffix: str = ".png") -> None:
        """Create the folder.

        Args:
            path: Folder; or a file with a suffix of `CODECS`, for a single image.
            names: Name of each image, without suffix.
            deep: Whether to write 16 bits per channel instead of 8.
            suffix: Suffix of the files, one of `CODECS`.
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
        """Write one image, (3, H, W); images have no time stamps.

        Raises:
            MediaError: If this is the second image for a single file.
        """
        if self._single and self.num_frames:
            raise MediaError(f"{self._single}: more than one frame; give a folder to hold them")
        path = self._single or self._folder / f"{next(self._names)}{self._suffix}"
        write_image(rgb, path, self._pix_fmt)
        self.num_frames += 1

    def copy(self, packet: Any) -> None:
        """Do nothing: images have no other streams."""

    def close(self, *, complete: bool = True) -> None:
        """Do nothing: every image is complete."""

    def discard(self) -> None:
        """Delete the folder if it is empty."""
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
