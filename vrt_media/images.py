"""Reader of image folders and single images."""

from __future__ import annotations

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

from .clip import IMAGE_SUFFIXES, ClipInfo, MediaError, TimedFrame
from .colour import colour_of
from .orientation import orientation_of, upright
from .planes import read_rgb


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
        self.paths = (list_images(path) if path.is_dir() else [path])[start:][:limit]
        if not self.paths:
            raise MediaError(f"{path}: no image {start} in it")
        self._device = device
        self.names = unique_names(self.paths)
        frame = read_image(self.paths[0])
        height, width = _size(frame)
        self.info = ClipInfo(
            height=height,
            width=width,
            colour=colour_of(frame),
            pix_fmt=frame.format.name,
            rate=rate,
            time_base=1 / rate,
            num_frames=len(self.paths),
        )

    def frames(self, on_packet: Callable[[Any], object]) -> Iterator[TimedFrame]:
        """Iterate over the images in order; there are no packets.

        Raises:
            MediaError: If an image cannot be read, or has another size than the first.
        """
        size = (self.info.height, self.info.width)
        for number, path in enumerate(self.paths):
            frame = read_image(path)
            height, width = _size(frame)
            if (height, width) != size:
                raise MediaError(
                    f"{path}: {width}x{height} pixels, but {self.paths[0].name} has "
                    f"{size[1]}x{size[0]}; all images of a clip need one size"
                )
            yield TimedFrame(upright(read_rgb(frame, colour_of(frame), device=self._device), frame), number)

    def stop(self) -> None:
        """Do nothing: files do not keep anybody waiting."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def _size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return height and width of an image, upright."""
    is_turned = orientation_of(frame)[0] % 2 == 1
    return (frame.width, frame.height) if is_turned else (frame.height, frame.width)
