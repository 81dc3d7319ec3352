"""What sources give and sinks take: the picture, the facts of a clip, and the two protocols."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from vrt_media.colour import Colour

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")


def count(number: int, what: str) -> str:
    """Such as "1 frame", "2 frames"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class MediaError(Exception):
    """A file that cannot be read or written, with a message for the user."""


@dataclass(frozen=True)
class Picture:
    """One frame of a source."""

    rgb: "Tensor"
    """(3, H, W), float32, nominally in [0, 1]."""
    pts: int | None
    """Time stamp in units of the clip's time base; None if the file gives none."""


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What is known of a clip once its first frame is there; sizes are those of the frames given, after rotation."""

    height: int
    width: int
    colour: "Colour"
    pix_fmt: str
    """Of the source, as libav calls it."""
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Seconds per unit of `Picture.pts`."""
    num_frames: int | None = None
    """Frames to come, if known; containers may be a little wrong."""
    sample_aspect: Fraction = Fraction(1)
    """Width of a sample over its height."""

    @property
    def frame_duration(self) -> int:
        """Usual distance of two frames, in units of `time_base`."""
        return max(1, round(1 / (self.rate * self.time_base)))


class Source(Protocol):
    """Frames in, one after the other."""

    facts: ClipFacts

    def pictures(self, on_packet: Callable[[Any], None]) -> Iterator[Picture]:
        """The frames in order; packets of streams to be copied go to `on_packet` as they turn up."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class Sink(Protocol):
    """Frames out, one after the other."""

    num_frames: int
    """Frames written so far."""

    def write(self, rgb: "Tensor", pts: int) -> None:
        """Take (3, H, W); `pts` is in units of the sink's time base."""
        ...

    def copy(self, packet: Any) -> None:
        """Take a packet of another stream."""
        ...

    def close(self, *, whole: bool = True) -> None:
        """Finish what was written, and give it its final name; if not `whole`, other streams end with the frames."""
        ...

    def discard(self) -> None:
        """Drop what was written."""
        ...
