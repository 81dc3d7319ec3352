"""Length of a video as its file declares it, beside what can be read: files that were cut off end early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from .container import average_rate
from .damage import Damage
from .timeline import as_fraction

DECLARING_FORMATS = ("matroska", "mov", "avi", "asf", "flv", "mxf")
"""Formats whose header has the duration; for others, libav computes it from what is there."""
TOLERANCE_SECONDS = Fraction(1, 5)
"""By how much a declared duration may be longer than what is there; headers are rounded."""


class Extent:
    """Watches the packets of a file, and finds out at its end whether some are missing."""

    def __init__(
        self, container: InputContainer, video: VideoStream, others: Sequence[Stream], *, is_whole: bool
    ) -> None:
        """Read what the file declares.

        Args:
            container: File.
            video: Video stream.
            others: Other streams whose packets are watched.
            is_whole: Whether the file is read from its first packet on.
        """
        self._video, self._num_packets, self._end = video, 0, Fraction(0)
        self._is_broken_off = False
        formats = container.format.name.split(",")
        is_declared = any(name in formats for name in DECLARING_FORMATS)
        has_index = "mov" in formats and video.frames and is_whole  # of one entry for each packet
        self._num_declared = len(video.index_entries) if has_index else None
        watched = {video.index, *(stream.index for stream in others)}
        timed = {stream.index for stream in container.streams if stream.type in ("video", "audio", "subtitle")}
        self._declared_end: Fraction | None = None
        if is_declared and container.duration and timed == watched:
            self._declared_end = Fraction(container.duration + (container.start_time or 0), av.time_base)
            if "avi" in formats:  # of a file that was cut off, libav gives the duration of what is there
                self._declared_end = max(self._declared_end, video.frames / average_rate(video))

    def watch(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Yield the packets; an error of the file ends it."""
        try:
            for packet in packets:
                if packet.size and packet.stream is self._video:
                    self._num_packets += 1
                stamp = packet.pts if packet.pts is not None else packet.dts
                if packet.size and stamp is not None:
                    unit = as_fraction(packet.time_base, Fraction(1))
                    self._end = max(self._end, (stamp + (packet.duration or 0)) * unit)
                yield packet
        except FFmpegError:
            self._is_broken_off = True
            yield from self._flush()

    def check(self, damage: Damage) -> None:
        """Add the frames that are declared, but not there.

        Raises:
            MediaError: If there are any, and damage is not tolerated.
        """
        missing = 0
        if self._num_declared is not None:
            missing = self._num_declared - self._num_packets
        elif self._declared_end is not None and self._declared_end - self._end > TOLERANCE_SECONDS:
            missing = round((self._declared_end - self._end) * average_rate(self._video))
        if missing > 0 or self._is_broken_off:
            damage.add("truncated", self._end, max(missing, 1))

    def _flush(self) -> Iterator[av.Packet]:
        packet: av.Packet = av.Packet()
        packet.stream, packet.time_base = self._video, self._video.time_base
        yield packet
