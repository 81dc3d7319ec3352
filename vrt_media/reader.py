"""Video files and pipes in: frames as R'G'B', other streams as packets."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import torch
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from vrt_media.colour import MATRIX_NAMES, colour_of
from vrt_media.planes import read_rgb
from vrt_media.timeline import as_fraction

from .clip import ClipFacts, MediaError, Picture

log = logging.getLogger(__name__)

COPIED_KINDS = ("audio", "subtitle")
CONTAINER_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder")
DEFAULT_RATE = Fraction(25)
COUNTED_BYTES = 1 << 30
"""Largest file that is read through to count its frames, if it does not say how many they are."""


class VideoSource:
    """The first video stream of a file or of standard input.

    Frames come upright: a rotation that the file asks for is done here, so the output needs no such tag. Decoding runs
    when a frame is asked for; libav's own threads work ahead.

    Attributes:
        facts: Size, colour, rate and length of the clip.
        copied: The streams whose packets are handed over: audio and subtitles.
        left_out: The other streams: further video, cover pictures, attachments, data.
        metadata: Title and the like.
        chapters: Those of the file; none if only a part of it is taken.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        start: int = 0,
        limit: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Open, and decode the first frame.

        Args:
            path: File, or "-" for standard input (y4m, or anything else that can be read in one go).
            start: Frames to leave out at the beginning; they are decoded and dropped, so the cut is exact.
            limit: Frames to give at most; all if None.
            device: Where frames are converted and left.

        Raises:
            MediaError: If libav cannot open it, if there is no video stream, or no frame at `start`.
        """
        self.name = "standard input" if str(path) == "-" else str(path)
        self._start, self._limit, self._device = start, limit, device
        self._container: InputContainer = open_input(path)
        try:
            self._video = _main_video(self._container, self.name)
            self._video.thread_type = "AUTO"
            self.copied = [s for s in self._container.streams if s.type in COPIED_KINDS]
            self.left_out = [s for s in self._container.streams if s is not self._video and s not in self.copied]
            self._packets = self._container.demux(self._video, *self.copied)
            self._early: list[av.Packet] = []  # packets met before anybody asked for them
            self._frames = self._decode(self._early.append)
            self.metadata = {k: v for k, v in self._container.metadata.items() if k not in CONTAINER_METADATA}
            self.chapters = [] if start or limit is not None else self._container.chapters()
            self._first = self._skip(start)
            self.facts = self._read_facts(self._first)
        except BaseException:
            self._container.close()
            raise

    def pictures(self, on_packet: Callable[[av.Packet], None]) -> Iterator[Picture]:
        """The frames in order, once; packets of `copied` streams go to `on_packet` as they turn up.

        With `start`, stamps count from the first frame given and packets from before it are left out; with `limit`,
        those from after the last frame are.

        Raises:
            MediaError: If a frame has another size than the first.
        """
        begin = self._first.pts if self._start and self._first.pts is not None else 0
        begin_seconds = begin * self.facts.time_base
        end_seconds = None if self._limit is None else begin_seconds + self._limit / self.facts.rate

        def hand_over(packet: av.Packet) -> None:
            stamp = packet.dts if packet.dts is not None else packet.pts
            if (self._start or end_seconds is not None) and stamp is not None:
                unit = as_fraction(packet.time_base, Fraction(1))
                if stamp * unit < begin_seconds or (end_seconds is not None and stamp * unit >= end_seconds):
                    return
                _shift(packet, round(begin_seconds / unit))
            on_packet(packet)

        for packet in self._early:
            hand_over(packet)
        self._early.clear()
        self._on_packet = hand_over
        given, frame = 0, self._first
        while frame is not None:
            yield Picture(self._upright(frame), None if frame.pts is None else frame.pts - begin)
            given += 1
            frame = None if given == self._limit else next(self._frames, None)
        if end_seconds is not None:
            self._drain(end_seconds, hand_over)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _decode(self, on_packet: Callable[[av.Packet], None]) -> Iterator[av.VideoFrame]:
        self._on_packet = on_packet
        broken = 0
        for packet in self._packets:
            if packet.stream is not self._video:
                if packet.size:
                    self._on_packet(packet)
                continue
            try:
                frames = packet.decode()
            except InvalidDataError as error:
                broken += 1
                if broken == 1:
                    log.warning("%s: a damaged packet is left out (%s); more may follow", self.name, error.strerror)
                continue
            yield from cast(list[av.VideoFrame], frames)

    def _skip(self, start: int) -> av.VideoFrame:
        for number, frame in enumerate(self._frames):
            if number == start:
                return frame
        raise MediaError(f"{self.name}: its video stream has no frame {start} that can be decoded")

    def _drain(self, end_seconds: Fraction, on_packet: Callable[[av.Packet], None]) -> None:
        """Read on, without decoding, for packets that belong to the last frames but lie behind them."""
        for packet in self._packets:
            if packet.dts is None or not packet.size:
                continue
            if packet.dts * as_fraction(packet.time_base, Fraction(1)) > end_seconds + 1:
                return
            if packet.stream is not self._video:
                on_packet(packet)

    def _upright(self, frame: av.VideoFrame) -> torch.Tensor:
        turns = _quarter_turns(frame)
        rgb = torch.rot90(read_rgb(frame, self.facts.colour, device=self._device), turns, dims=(1, 2))
        size = (self.facts.height, self.facts.width)
        if rgb.shape[1:] != size:
            raise MediaError(
                f"{self.name}: the frame at {frame.time or 0:.3f} s has {rgb.shape[2]}x{rgb.shape[1]} pixels, "
                f"those before it {size[1]}x{size[0]}; one size per clip is needed: scale it first"
            )
        return rgb

    def _read_facts(self, frame: av.VideoFrame) -> ClipFacts:
        stream, turned = self._video, _quarter_turns(frame) % 2
        colour = colour_of(frame)
        if not colour.exact:
            log.warning(
                "%s: matrix %s is read as a plain Y'CbCr one", self.name, MATRIX_NAMES.get(colour.matrix, colour.matrix)
            )
        if frame.interlaced_frame:
            log.warning("%s is interlaced; deinterlace it first, the models know whole frames only", self.name)
        if any(c.is_alpha for c in frame.format.components):
            log.warning("%s: the alpha channel is left out", self.name)
        rate = as_fraction(stream.average_rate or stream.guessed_rate, DEFAULT_RATE)
        aspect = as_fraction(stream.sample_aspect_ratio, Fraction(1))
        facts = ClipFacts(
            height=frame.width if turned else frame.height,
            width=frame.height if turned else frame.width,
            colour=colour,
            pix_fmt=frame.format.name,
            rate=rate,
            time_base=as_fraction(frame.time_base or stream.time_base, 1 / rate),
            sample_aspect=1 / aspect if turned else aspect,
        )
        total = count_frames(stream, rate)
        if total is not None:
            total = max(1, total - self._start)
        if self._limit is not None:
            total = self._limit if total is None else min(total, self._limit)
        return replace(facts, num_frames=total)


def open_input(path: str | Path) -> InputContainer:
    """Open a file, or "-" for standard input.

    Raises:
        MediaError: If it is not there, or nothing that libav can read.
    """
    piped = str(path) == "-"
    if piped and sys.stdin.isatty():
        raise MediaError("- reads y4m from standard input, but nothing is piped into it")
    name = "standard input" if piped else str(path)
    try:
        return av.open("pipe:0" if piped else str(path))
    except InvalidDataError as error:
        empty = not piped and Path(path).is_file() and not Path(path).stat().st_size
        reason = "it is empty (0 bytes)" if empty else f"no video or image that can be read ({error.strerror})"
        raise MediaError(f"{name}: {reason}") from None
    except FFmpegError as error:
        raise MediaError(f"{name}: {error.strerror}") from None


def count_frames(stream: VideoStream, rate: Fraction) -> int | None:
    """How many frames a file has: as it says, else counted if it is small, else by its duration; None if unknown."""
    if stream.frames:
        return stream.frames
    path = Path(stream.container.name)
    if path.is_file() and path.stat().st_size <= COUNTED_BYTES:
        with suppress(FFmpegError), av.open(str(path)) as again:
            return sum(packet.size > 0 for packet in again.demux(again.streams[stream.index])) or None
    if stream.duration and stream.time_base:
        return round(stream.duration * as_fraction(stream.time_base, Fraction(1)) * rate)
    duration = getattr(stream.container, "duration", None)
    return round(Fraction(duration, av.time_base) * rate) if duration else None


def _main_video(container: InputContainer, name: str) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise MediaError(f"{name}: no video stream in it")
    return streams[0]


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Quarter turns against the clock that bring the frame upright."""
    return round(frame.rotation / 90) % 4


def _shift(packet: av.Packet, offset: int) -> None:
    if packet.pts is not None:
        packet.pts -= offset
    if packet.dts is not None:
        packet.dts -= offset
