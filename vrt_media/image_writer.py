"""Writer of image folders and single images."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
from torch import Tensor

from .clip import MediaError
from .colour import FULL, RGB, Colour
from .part_file import PartFile, part_path, rename
from .planes import write_rgb

CODECS = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".exr": "exr"}
"""Encoder of each suffix that can be written: lossless formats of 8 and 16 bits, and of 32-bit floating point."""


class ImageWriter:
    """Writes a folder of images; a `FrameWriter`.

    The images are in a part, a folder of its own, until `close`: beside the folder if that is new, else in it.

    Attributes:
        num_frames: Images written so far.
        result: Where the images are.
    """

    def __init__(
        self, folder: Path, *, names: Iterator[str], deep: bool, overwrite: bool = False, suffix: str = ".png"
    ) -> None:
        """Create the part.

        Args:
            folder: Folder.
            names: Name of each image, without suffix.
            deep: Whether to write 16 bits per channel instead of 8.
            overwrite: Whether `close` replaces images of the same names.
            suffix: One of `CODECS`.

        Raises:
            OSError: If the folder cannot be created.
        """
        self.num_frames = 0
        self._folder, self._names, self._pix_fmt = folder, names, deep_format(suffix, deep)
        self._suffix = suffix
        self._overwrite = overwrite
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.result = self._part = create_folder(folder / folder.name if folder.is_dir() else folder)

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write one image, (3, H, W); images have no time stamps."""
        path = self._part / f"{next(self._names)}{self._suffix}"
        with path.open("xb") as file:
            try:
                file.write(encode_image(rgb, self._suffix, self._pix_fmt))
                file.flush()
            except BaseException:
                path.unlink()  # a part of an image is none
                raise
        self.num_frames += 1

    def copy(self, packet: Any) -> None:
        """Do nothing: images have no other streams."""

    def cut_short(self) -> None:
        """Do nothing: what was written is the result."""

    def close(self, *, complete: bool = True) -> None:
        """Give the images their names.

        Args:
            complete: Whether all images were written; if not, none is replaced: they remain in the part if some of
                their names are taken.

        Raises:
            MediaError: If there is an image of one of their names, and it may not be replaced.
        """
        images = sorted(self._part.iterdir())
        is_free = not any((self._folder / image.name).exists() for image in images)
        if not (complete or is_free):
            return
        if not self._folder.exists():
            self._part.rename(self._folder)
        else:
            for image in images:
                rename(image, self._folder / image.name, overwrite=self._overwrite and complete)
            self._part.rmdir()
        self.result = self._folder

    def discard(self) -> None:
        """Delete the images."""
        for image in self._part.iterdir():
            image.unlink()
        self._part.rmdir()


class SingleImageWriter:
    """Writes one image; a `FrameWriter`.

    Attributes:
        num_frames: 1 once the image is written.
    """

    def __init__(self, path: Path, *, deep: bool, overwrite: bool = False) -> None:
        """Create the part.

        Args:
            path: File with a suffix of `CODECS`.
            deep: Whether to write 16 bits per channel instead of 8.
            overwrite: Whether `close` replaces a file of that name.

        Raises:
            OSError: If the file cannot be created.
        """
        self.num_frames = 0
        self._path, self._overwrite, self._pix_fmt = path, overwrite, deep_format(path.suffix, deep)
        self._part = PartFile(path)

    @property
    def result(self) -> Path:
        """Where the image is."""
        return self._part.path

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write the image, (3, H, W).

        Raises:
            MediaError: If this is the second image.
        """
        if self.num_frames:
            raise MediaError(f"{self._path}: more than one frame; give a folder to hold them")
        self._part.write(encode_image(rgb, self._path.suffix, self._pix_fmt))
        self.num_frames += 1

    def copy(self, packet: Any) -> None:
        """Do nothing: images have no other streams."""

    def cut_short(self) -> None:
        """Do nothing: what was written is the result."""

    def close(self, *, complete: bool = True) -> None:
        """Give the file its name; if not `complete`, only if that is free."""
        self._part.close()
        if complete or not self._path.exists():
            self._part.publish(overwrite=self._overwrite and complete)

    def discard(self) -> None:
        """Delete the file."""
        self._part.discard()


def deep_format(suffix: str, deep: bool) -> str:
    """Return the pixel format of an image of 8 bits, or of 16 if deep; that of EXR is floating point."""
    if CODECS[suffix.lower()] == "exr":
        return "gbrpf32le"
    big_endian = CODECS[suffix.lower()] == "png"
    return ("rgb48be" if big_endian else "rgb48le") if deep else "rgb24"


def create_folder(target: Path) -> Path:
    """Create a folder beside the target, as `NAME.part` or, if that exists, `NAME.part2`, and return its path."""
    for number in count(1):
        path = part_path(target, number)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError


def encode_image(rgb: Tensor, suffix: str, pix_fmt: str) -> bytes:
    """Return (3, H, W) as the content of a PNG, TIFF or EXR file; EXR holds values as they are, others are clipped."""
    frame = write_rgb(rgb, pix_fmt, Colour(matrix=RGB, full_range=True))
    encoder = av.CodecContext.create(CODECS[suffix.lower()], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, pix_fmt
    encoder.time_base, encoder.color_range = Fraction(1), FULL
    encoder.sample_aspect_ratio = Fraction(1)  # else PNG states 0:1
    encoder.options = {"compression": "zip16"} if encoder.name == "exr" else {}
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
