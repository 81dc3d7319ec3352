"""Types of a clip: its frames, its properties, and the protocols of readers and writers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from .colour import Colour
    from .mastering import Mastering

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp", ".exr")


class MediaError(Exception):
    """A file that cannot be read or written, with a message for the user."""


def ignore(item: Any) -> None:
    """Do nothing; the default of callbacks."""


@dataclass(frozen=True)
class TimedFrame:
    """A frame and its time stamp."""

    rgb: Tensor
    """(3, H, W), float32, nominally in [0, 1]."""
    pts: int | None
    """Time stamp in units of the clip's time base; None if the file has none."""


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """Properties of a clip, known once its first frame is decoded."""

    height: int
    """Pixels, after rotation and crop."""
    width: int
    """Pixels, after rotation and crop."""
    colour: Colour
    pix_fmt: str
    """Pixel format of the source, by libav's name."""
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Seconds per unit of `TimedFrame.pts`."""
    num_frames: int | None = None
    """Number of frames, None if unknown; the number in a container may be slightly wrong."""
    sample_aspect: Fraction = Fraction(1)
    """Width of a sample over its height."""
    mastering: Mastering | None = None
    """Static metadata of HDR10."""
    lost_side_data: tuple[str, ...] = ()
    """What the first frame has beside its picture that no output gets."""

    @property
    def frame_duration(self) -> int:
        """Usual duration of a frame, in units of `time_base`."""
        return max(1, round(1 / (self.rate * self.time_base)))


class FrameReader(Protocol):
    """Reads the frames of a clip in order."""

    info: ClipInfo

    def frames(
        self, on_packet: Callable[[Any], object], *, skip: int = 0, on_skipped: Callable[[int | None], object] = ignore
    ) -> Iterator[TimedFrame]:
        """Iterate over the frames, once.

        Args:
            on_packet: Called with each packet of other streams as it is read.
            skip: Frames to leave out at the beginning; the others stay as they are, time stamps included.
            on_skipped: Called with the time stamp of each of these.
        """
        ...

    def stop(self) -> None:
        """End `frames` soon, even if it waits for data in another thread."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class FrameWriter(Protocol):
    """Writes the frames of a clip in order."""

    num_frames: int
    """Frames written so far."""

    @property
    def result(self) -> Path | None:
        """Where the frames are: in a part, or under the final name once `close` gave it; None for a pipe."""
        ...

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write a frame, (3, H, W); `pts` is in units of the writer's time base."""
        ...

    def copy(self, packet: Any) -> None:
        """Write a packet of another stream."""
        ...

    def cut_short(self) -> None:
        """Take note that the clip ended too early: the frames from here on may not be those of the whole clip."""
        ...

    def close(self, *, complete: bool = True) -> None:
        """Finish the output and give it its final name.

        If not `complete`, other streams end with the last frame, and nothing is replaced: the part keeps its name if
        the final one is taken.
        """
        ...

    def discard(self) -> None:
        """Delete what was written; an output of another job or run is never touched."""
        ...
