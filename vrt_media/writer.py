"""Video files and pipes out: encoding, other streams copied, and a playable file whatever happens."""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.container import Flags, OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream
from torch import Tensor

from vrt_media.colour import FULL, LEFT, LIMITED, colour_for
from vrt_media.planes import write_rgb
from vrt_media.timeline import as_fraction

from .clip import ClipFacts, MediaError
from .encoding import Y4M_FORMATS, Encoding, check_pix_fmt, choose_pix_fmt, find_encoder

log = logging.getLogger(__name__)

MP4_SUFFIXES = (".mp4", ".m4v", ".mov")
MATROSKA_SUFFIXES = (".mkv", ".webm")
CRASH_SAFE = {
    **{s: {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": "1000000"} for s in MP4_SUFFIXES},
    **{s: {"cluster_time_limit": "1000"} for s in MATROSKA_SUFFIXES},
}
"""Muxer options: a piece is complete after every second; closing turns an MP4 of pieces into an ordinary one."""


@dataclass(frozen=True, kw_only=True)
class OutputShape:
    """What the restored clip looks like, beside the facts of its source."""

    height: int
    width: int
    rate: Fraction
    """Frames per second."""
    time_base: Fraction
    """Seconds per unit of the stamps that `VideoSink.write` gets."""


class VideoSink:
    """A video file in the making, or a y4m pipe on standard output.

    The file has `.part` in its name until `close`; what was written can be played after `close` at any time, and
    after the process was killed up to the last second or so (MP4, MOV, Matroska).

    Attributes:
        num_frames: Frames written so far.
        pix_fmt: The pixel format encoded with.
        left_out: One line for each stream that the container cannot hold.
    """

    def __init__(
        self,
        path: str | Path,
        facts: ClipFacts,
        shape: OutputShape,
        encoding: Encoding,
        *,
        copied: Iterable[Stream] = (),
        metadata: Mapping[str, str] | None = None,
        chapters: Sequence[Any] = (),
    ) -> None:
        """Open the file, and write nothing yet.

        Args:
            path: File, its suffix choosing the container, or "-" for y4m on standard output.
            facts: Of the source: colour, format, aspect.
            shape: Of the output.
            encoding: The user's wishes.
            copied: Streams of the source whose packets `copy` will get.
            metadata: Title and the like, as libav names them.
            chapters: As libav gives them.

        Raises:
            MediaError: If container, encoder or pixel format do not fit.
            av.FFmpegError: If the file cannot be opened.
        """
        self.num_frames = 0
        self.left_out: list[str] = []
        self._piped = str(path) == "-"
        self.path = Path(path)
        self._part = self.path.with_name(f"{self.path.stem}.part{self.path.suffix}")
        codec, settings = ("wrapped_avframe", {}) if self._piped else (encoding.codec, encoding.settings())
        offered = Y4M_FORMATS if self._piped else tuple(f.name for f in find_encoder(codec).video_formats or ())
        self.pix_fmt = (
            check_pix_fmt(encoding.pix_fmt)
            if encoding.pix_fmt
            else choose_pix_fmt(offered, facts.pix_fmt, shape.height, shape.width)
        )
        if offered and self.pix_fmt not in offered:
            raise MediaError(f"--pix-fmt {self.pix_fmt}: {codec} takes {', '.join(offered)}")
        self._colour = colour_for(self.pix_fmt, facts.colour, shape.height, shape.width)
        self._rate, self._time_base, self._end_seconds = shape.rate, shape.time_base, Fraction(0)
        if self._piped:  # y4m knows one rate, and takes untagged siting for JPEG's
            self._time_base = 1 / shape.rate
            self._colour = replace(self._colour, siting=self._colour.siting or LEFT)
        self._waiting: deque[av.Packet] = deque()  # of copied streams, until the frames of their time are written
        self._container = self._open()
        try:
            self._stream = self._add_video(codec, settings, facts, shape)
            self._copies = dict(self._add_copies(copied))
            self._container.metadata.update(metadata or {})
            if chapters:
                self._container.set_chapters(list(chapters))
        except BaseException:
            self.discard()
            raise

    def write(self, rgb: Tensor, pts: int) -> None:
        """Encode one frame, (3, H, W); `pts` is in units of the shape's time base."""
        frame = write_rgb(rgb, self.pix_fmt, self._colour)
        frame.pts, frame.time_base = (self.num_frames if self._piped else pts), self._time_base
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1
        self._end_seconds = (frame.pts + 1 / (self._rate * self._time_base)) * self._time_base
        self._copy_waiting(self._end_seconds)

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of one of the copied streams as it is, once the frames of its time are written."""
        if packet.stream.index in self._copies and packet.size:
            self._waiting.append(packet)

    def close(self, *, whole: bool = True) -> None:
        """Encode what is waiting, finish the container, and give the file its name.

        Args:
            whole: Whether all frames were written; if not, copied streams end with the last one.
        """
        try:
            self._copy_waiting(None if whole else self._end_seconds)
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
            if not self._piped:
                self._part.replace(self.path)

    def discard(self) -> None:
        """Close and delete."""
        try:
            self._container.close()
        except (FFmpegError, OSError, ValueError) as error:
            log.debug("closing an unfinished file: %s", error)
        if not self._piped:
            self._part.unlink(missing_ok=True)

    def _copy_waiting(self, end_seconds: Fraction | None) -> None:
        """Write the packets that begin before that time; all if None."""
        kept: deque[av.Packet] = deque()
        for packet in self._waiting:
            stamp = packet.dts if packet.dts is not None else packet.pts
            unit = as_fraction(packet.time_base, Fraction(1))
            if end_seconds is not None and stamp is not None and stamp * unit >= end_seconds:
                kept.append(packet)
            else:
                packet.stream = self._copies[packet.stream.index]
                self._container.mux(packet)
        self._waiting = kept

    def _open(self) -> OutputContainer:
        if self._piped:
            return av.open("pipe:1", "w", format="yuv4mpegpipe", options={"strict": "-1"})
        options = dict(CRASH_SAFE.get(self.path.suffix.lower(), {}))
        try:
            container = av.open(str(self._part), "w", container_options=options)
        except ValueError as error:
            if isinstance(error, FFmpegError):
                raise
            suffix = f"suffix {self.path.suffix!r} names no video container"
            raise MediaError(f"{self.path}: {suffix}; take .mkv or .mp4, or a folder for images") from None
        container.flags |= Flags.flush_packets.value
        return container

    def _add_video(self, codec: str, settings: dict[str, str], facts: ClipFacts, shape: OutputShape) -> VideoStream:
        if not self._can_hold(codec):
            raise MediaError(f"{self.path}: {self.path.suffix} cannot hold what {codec} makes; take .mkv")
        if codec == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only; it writes to standard error on its own
        stream = cast(VideoStream, self._container.add_stream(codec, rate=shape.rate, options=settings))
        stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, self.pix_fmt
        context = stream.codec_context
        context.time_base = self._time_base
        context.sample_aspect_ratio = facts.sample_aspect  # PyAV can tell the encoder, not the container
        carried = find_encoder(codec).canonical_name in ("h264", "hevc") or self.path.suffix.lower() in MP4_SUFFIXES
        if facts.sample_aspect != 1 and not (carried or self._piped):
            self.left_out.append(f"sample aspect {facts.sample_aspect}: {codec} keeps it in .mp4 only")
        context.colorspace = self._colour.matrix
        context.color_range = FULL if self._colour.full_range else LIMITED
        context.color_primaries = self._colour.primaries
        context.color_trc = self._colour.transfer
        context.chroma_sample_location = self._colour.siting
        if codec == "libx265" and self.path.suffix.lower() in MP4_SUFFIXES:
            context.codec_tag = "hvc1"  # the one that Apple's players know
        return stream

    def _add_copies(self, copied: Iterable[Stream]) -> Iterator[tuple[int, Stream]]:
        """(index in the source, stream here) of each stream that the container can hold."""
        for stream in copied:
            name = stream.codec_context.name if stream.codec_context else "unknown"
            if self._piped or not self._can_hold(name):
                where = "a y4m pipe" if self._piped else self.path.suffix
                self.left_out.append(f"{stream.type} stream {stream.index} ({name}): {where} cannot hold it")
                continue
            try:
                target = self._container.add_stream_from_template(stream)
            except (ValueError, FFmpegError) as error:
                self.left_out.append(f"{stream.type} stream {stream.index} ({name}): {error}")
                continue
            target.metadata.update(stream.metadata)
            yield stream.index, target

    def _can_hold(self, codec: str) -> bool:
        """Whether the container takes it; libav knows only for some, and tells for others when it writes."""
        told = self._piped or self.path.suffix.lower() in (*MP4_SUFFIXES, *MATROSKA_SUFFIXES, ".avi", ".flv")
        return not told or codec in self._container.supported_codecs
