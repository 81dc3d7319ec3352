"""Measurement of a video's fields by libav's idet filter: flags of files are missing or wrong too often.

Frames are taken from several places of the file, so the result does not depend on the part that is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Literal

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from .container import MediaFile, average_rate, main_video, name_of, open_input
from .filter_graph import FilterChain, layout_of

FieldOrder = Literal["top", "bottom"]
"""Which field of a frame comes first."""

NUM_PLACES = 4
FRAMES_PER_PLACE = 30
MAX_FRAMES = NUM_PLACES * FRAMES_PER_PLACE
MAX_INTERLACED_HEIGHT = 1152
"""Height up to which video is interlaced: 1035 to 1088 lines in HDTV, 1152 in analogue HDTV; larger is progressive."""
MIN_DETERMINED = 4
"""Frames that idet must be sure of; it is not of still pictures."""
MIN_INTERLACED = 0.5
"""Fraction of these frames with one field order in interlaced video; measured 1.0, with noise of sigma 30 too."""
MIN_REPEATED = 0.25
"""Fraction of frames that repeat a field in telecined film; 3:2 pulldown has 0.4."""


@dataclass(frozen=True, kw_only=True)
class FieldStatistics:
    """Numbers of frames by what idet says of them."""

    num_frames: int = 0
    num_flagged: int = 0
    """Frames that the file declares as interlaced."""
    num_top: int = 0
    """Interlaced frames whose top field comes first."""
    num_bottom: int = 0
    num_progressive: int = 0
    num_repeated: int = 0
    """Frames that repeat a field of the frame before."""

    def __add__(self, other: FieldStatistics) -> FieldStatistics:
        """Return the sums."""
        return FieldStatistics(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def num_determined(self) -> int:
        """Frames that idet is sure of."""
        return self.num_top + self.num_bottom + self.num_progressive

    @property
    def is_interlaced(self) -> bool | None:
        """Whether the video is interlaced; None if too few frames show it."""
        if self.num_determined < MIN_DETERMINED:
            return None
        return max(self.num_top, self.num_bottom) >= MIN_INTERLACED * self.num_determined

    @property
    def order(self) -> FieldOrder | None:
        """Field order of interlaced video."""
        if not self.is_interlaced:
            return None
        return "top" if self.num_top > self.num_bottom else "bottom"

    @property
    def is_flagged(self) -> bool:
        """Whether the file declares most of its frames as interlaced."""
        return 2 * self.num_flagged > self.num_frames

    @property
    def is_doubtful(self) -> bool:
        """Whether the file declares itself as interlaced, and its frames do not show whether it is."""
        return self.is_flagged and self.is_interlaced is None

    @property
    def is_telecined(self) -> bool:
        """Whether the fields are those of film at 24 frames per second, some of them repeated."""
        return bool(self.is_interlaced) and self.num_repeated >= MIN_REPEATED * self.num_frames


def measure_fields(source: MediaFile) -> FieldStatistics:
    """Measure the fields of a video file; those of large frames are not looked at, and count as none.

    Raises:
        MediaError: If the file cannot be opened, or has no video stream.
    """
    total = FieldStatistics()
    with closing(open_input(source)) as container:
        stream = main_video(container, name_of(source))
        if stream.codec_context.height > MAX_INTERLACED_HEIGHT:
            return total
        stream.thread_type = "AUTO"
        seconds = Fraction(container.duration or 0, av.time_base)
        is_long = seconds * average_rate(stream) > 2 * MAX_FRAMES
        for place in range(NUM_PLACES if is_long else 1):
            try:
                if place:
                    container.seek((container.start_time or 0) + (container.duration or 0) * place // NUM_PLACES)
                total += _measure(islice(_whole_frames(container, stream), FRAMES_PER_PLACE if is_long else MAX_FRAMES))
            except FFmpegError:  # the places before it are enough
                break
    return total


def _whole_frames(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Iterate over the frames that are not damaged."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except (FFmpegError, MemoryError, ValueError):  # the reader accounts for damage
            continue
        yield from (frame for frame in frames if isinstance(frame, av.VideoFrame) and not frame.is_corrupt)


def _measure(frames: Iterator[av.VideoFrame]) -> FieldStatistics:
    """Measure successive frames, up to the first of another size or format."""
    chain: FilterChain | None = None
    layout: tuple[int, int, str] | None = None
    results: list[av.VideoFrame] = []
    num_frames = num_flagged = 0
    for frame in frames:
        layout = layout or layout_of(frame)
        if layout_of(frame) != layout:
            break
        chain = chain or FilterChain(frame, [("idet", "")])
        num_flagged += frame.interlaced_frame
        frame.pts = num_frames
        num_frames += 1
        results += chain.push(frame)
    if chain is not None:
        results += chain.push(None)
    if not results:
        return FieldStatistics()
    metadata = results[-1].metadata  # a frame of MPEG-2 has a time code there, too

    def number(kind: str) -> int:
        return round(float(metadata.get(f"lavfi.idet.{kind}", 0)))

    return FieldStatistics(
        num_frames=num_frames,
        num_flagged=num_flagged,
        num_top=number("multiple.tff"),
        num_bottom=number("multiple.bff"),
        num_progressive=number("multiple.progressive"),
        num_repeated=number("repeated.top") + number("repeated.bottom"),
    )
