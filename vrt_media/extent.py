"""Length of a video as its file declares it, beside what can be read: files that were cut off end early."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from .attachments import is_attachment
from .container import average_rate
from .damage import Damage
from .timeline import as_fraction

DECLARING_FORMATS = ("matroska", "mov", "avi", "asf", "flv", "mxf")
"""Formats whose header has the duration; for others, libav computes it from what is there."""
TIMED_KINDS = ("video", "audio", "subtitle")
MAX_START_SECONDS = Fraction(1, 2)
"""Time at which Matroska files begin at the latest: their writers let them begin at 0."""
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
        self._last_byte, self._num_bytes = 0, (container.size or 0) if container.format.name == "yuv4mpegpipe" else 0
        formats = container.format.name.split(",")
        self._start = Fraction(container.start_time or 0, av.time_base) if is_whole and "matroska" in formats else 0
        is_declared = any(name in formats for name in DECLARING_FORMATS)
        self._num_declared = None
        if video.frames and is_whole and ("mov" in formats or "avi" in formats):
            num_entries = sum(entry.size > 0 for entry in video.index_entries)
            # one for each packet; AVI has the index at its end, where it may be missing
            self._num_declared = num_entries if "mov" in formats or 2 * num_entries > video.frames else None
        self._video_end, self._declared_video_end = Fraction(0), _seconds(video.metadata.get("DURATION", ""))
        watched = {video.index, *(stream.index for stream in others)}
        timed = {s.index for s in container.streams if s.type in TIMED_KINDS and not is_attachment(s)}
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
                    self._last_byte = (packet.pos or 0) + packet.size
                stamp = packet.pts if packet.pts is not None else packet.dts
                if packet.size and stamp is not None:
                    unit = as_fraction(packet.time_base, Fraction(1))
                    end = (stamp + (packet.duration or 0)) * unit
                    if not packet.duration and packet.stream is self._video:
                        end += 1 / average_rate(self._video)
                    self._end = max(self._end, end)
                    if packet.stream is self._video:
                        self._video_end = max(self._video_end, end)
                yield packet
        except FFmpegError:
            self._is_broken_off = True
            yield from self._flush()

    def check(self, damage: Damage) -> None:
        """Add the frames that are declared, but not there.

        Raises:
            MediaError: If there are any, and damage is not tolerated.
        """
        if self._start > MAX_START_SECONDS:
            start = f"{float(self._start):.3f} s"
            damage.on_note(f"{damage.name}: its first frame is at {start}; some may be lost before it")
        missing, rate = 0, average_rate(self._video)
        if self._num_declared is not None:
            missing = self._num_declared - self._num_packets
        elif self._declared_video_end is not None:
            missing = int((self._declared_video_end - self._video_end) * rate + Fraction(1, 4))
        elif self._declared_end is not None and self._declared_end - self._end > TOLERANCE_SECONDS:
            missing = round((self._declared_end - self._end) * rate)
        ends_in_a_frame = 0 < self._last_byte < self._num_bytes  # y4m, whose last frame libav drops if it is not whole
        if missing > 0 or self._is_broken_off or ends_in_a_frame:
            damage.add("truncated", self._video_end, max(missing, 1))

    def _flush(self) -> Iterator[av.Packet]:
        packet: av.Packet = av.Packet()
        packet.stream, packet.time_base = self._video, self._video.time_base
        yield packet


def _seconds(text: str) -> Fraction | None:
    """Return the end of a track as Matroska's tag states it, as in 00:01:02.500000000; None if it is something else."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text)
    return 3600 * Fraction(match[1]) + 60 * Fraction(match[2]) + Fraction(match[3]) if match else None
