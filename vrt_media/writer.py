"""Writer of video files and y4m pipes: encodes frames, copies other streams, and leaves a playable file behind."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
from av.container import Flags, OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream
from torch import Tensor

from .audio import CopiedTrack, EncodedTrack, Track, is_copied
from .clip import ClipInfo, MediaError
from .colour import FULL, LEFT, LIMITED, colour_for
from .encoding import Y4M_FORMATS, Encoding, check_pix_fmt, choose_pix_fmt, find_encoder
from .planes import write_rgb
from .timeline import as_fraction

_log = logging.getLogger(__name__)

MP4_SUFFIXES = (".mp4", ".m4v", ".mov")
MATROSKA_SUFFIXES = (".mkv", ".webm")
CRASH_SAFE_OPTIONS = {
    **{s: {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": "1000000"} for s in MP4_SUFFIXES},
    **{s: {"cluster_time_limit": "1000"} for s in MATROSKA_SUFFIXES},
}
"""Muxer options that complete a fragment every second; closing turns a fragmented MP4 into an ordinary one."""


@dataclass(frozen=True, kw_only=True)
class OutputShape:
    """Properties in which an output differs from its source."""

    height: int
    width: int
    rate: Fraction
    """Frames per second."""
    time_base: Fraction
    """Seconds per unit of the time stamps that `VideoWriter.write` gets."""


class VideoWriter:
    """Writes a video file, or y4m to standard output; a `FrameWriter`.

    The file has `.part` in its name until `close`, which makes it playable at any time. As a context manager, it closes
    the file, or deletes it after an exception.

    Attributes:
        num_frames: Frames written so far.
        pix_fmt: Pixel format that is encoded.
        left_out: One line for each stream that the container cannot hold.
    """

    def __init__(
        self,
        path: str | Path,
        info: ClipInfo,
        shape: OutputShape,
        encoding: Encoding,
        *,
        streams: Iterable[Stream] = (),
        encode_audio: bool = False,
        metadata: Mapping[str, str] | None = None,
        chapters: Sequence[Any] = (),
        crash_safe: bool = True,
    ) -> None:
        """Open the file, without writing to it.

        Args:
            path: File, whose suffix selects the container, or "-" for y4m on standard output.
            info: Source: its colour, pixel format and sample aspect.
            shape: Output.
            encoding: Encoder and its settings.
            streams: Streams of the source whose packets `copy` will get.
            encode_audio: Whether to encode audio as AAC unless its codec is one of `COPIED_CODECS`.
            metadata: Title and the like, by libav's names.
            chapters: Chapters, as libav has them.
            crash_safe: Whether an MP4, MOV or Matroska file can be played up to its last second or so even if the
                process is killed.

        Raises:
            MediaError: If container, encoder and pixel format do not fit each other.
            av.FFmpegError: If the file cannot be opened.
        """
        self.num_frames = 0
        self.left_out: list[str] = []
        self._is_piped, self.path = str(path) == "-", Path(path)
        self._part = self.path.with_name(f"{self.path.stem}.part{self.path.suffix}")
        codec, settings = ("wrapped_avframe", {}) if self._is_piped else (encoding.codec, encoding.settings())
        offered = Y4M_FORMATS if self._is_piped else tuple(f.name for f in find_encoder(codec).video_formats or ())
        self.pix_fmt = (
            check_pix_fmt(encoding.pix_fmt)
            if encoding.pix_fmt
            else choose_pix_fmt(offered, info.pix_fmt, shape.height, shape.width)
        )
        if offered and self.pix_fmt not in offered:
            raise MediaError(f"--pix-fmt {self.pix_fmt}: {codec} takes {', '.join(offered)}")
        self._colour = colour_for(self.pix_fmt, info.colour, shape.height, shape.width)
        self._rate, self._time_base, self._end_seconds = shape.rate, shape.time_base, Fraction(0)
        if self._is_piped:  # y4m has one rate, and readers take untagged siting for JPEG's
            self._time_base = 1 / shape.rate
            self._colour = replace(self._colour, siting=self._colour.siting or LEFT)
        self._waiting: deque[av.Packet] = deque()  # of other streams, until the frames of their time are written
        self._tracks: dict[int, Track] = {}  # by index of the stream in the source
        self._audio: list[EncodedTrack] = []
        self._container = self._open(crash_safe)
        try:
            self._stream = self._add_video(codec, settings, info, shape)
            for stream in streams:
                self._add_track(stream, encode_audio)
            self._container.metadata.update(metadata or {})
            if chapters:
                self._container.set_chapters(list(chapters))
        except BaseException:
            self.discard()
            raise

    def add_audio(self, rate: int, layout: str) -> EncodedTrack:
        """Add an AAC track for audio that is not in a file; call it before the first frame is written."""
        self._audio.append(EncodedTrack(self._container, rate, layout))
        return self._audio[-1]

    def write(self, rgb: Tensor, pts: int) -> None:
        """Encode one frame, (3, H, W); `pts` is in units of the shape's time base."""
        frame = write_rgb(rgb, self.pix_fmt, self._colour)
        frame.pts, frame.time_base = (self.num_frames if self._is_piped else pts), self._time_base
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1
        self._end_seconds = (frame.pts + 1 / (self._rate * self._time_base)) * self._time_base
        self._write_waiting(self._end_seconds)

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of one of the `streams`, once the frames of its time are written."""
        if packet.stream.index in self._tracks and packet.size:
            self._waiting.append(packet)

    def close(self, *, complete: bool = True) -> None:
        """Encode what waits, finish the container, and give the file its name.

        Args:
            complete: Whether all frames were written; if not, other streams end with the last frame.
        """
        try:
            self._finish(complete)
        finally:
            self._container.close()
            if not self._is_piped:
                self._part.replace(self.path)

    def discard(self) -> None:
        """Close and delete the file."""
        try:
            self._container.close()
        except (FFmpegError, OSError, ValueError, RuntimeError) as error:
            _log.debug("closing an unfinished file: %s", error)
        if not self._is_piped:
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self._finish(complete=True)
            self._container.close()
        except BaseException:
            self.discard()
            raise
        self._part.replace(self.path)

    def _finish(self, complete: bool) -> None:
        self._write_waiting(None if complete else self._end_seconds)
        for track in (*self._tracks.values(), *self._audio):
            track.finish()
        self._container.mux(self._stream.encode(None))

    def _write_waiting(self, end_seconds: Fraction | None) -> None:
        """Write the packets that begin before that time; all if None."""
        later: deque[av.Packet] = deque()
        for packet in self._waiting:
            pts = packet.dts if packet.dts is not None else packet.pts
            unit = as_fraction(packet.time_base, Fraction(1))
            if end_seconds is not None and pts is not None and pts * unit >= end_seconds:
                later.append(packet)
            else:
                self._tracks[packet.stream.index].feed(packet)
        self._waiting = later

    def _open(self, crash_safe: bool) -> OutputContainer:
        if self._is_piped:
            return av.open("pipe:1", "w", format="yuv4mpegpipe", options={"strict": "-1"})
        options = CRASH_SAFE_OPTIONS.get(self.path.suffix.lower(), {}) if crash_safe else {}
        try:
            container = av.open(str(self._part), "w", container_options=dict(options))
        except ValueError as error:
            if isinstance(error, FFmpegError):
                raise
            suffix = f"suffix {self.path.suffix!r} names no video container"
            raise MediaError(f"{self.path}: {suffix}; take .mkv or .mp4, or a folder for images") from None
        if crash_safe:
            container.flags |= Flags.flush_packets.value
        return container

    def _add_video(self, codec: str, settings: dict[str, str], info: ClipInfo, shape: OutputShape) -> VideoStream:
        if not self._can_hold(codec):
            raise MediaError(f"{self.path}: {self.path.suffix} cannot hold what {codec} makes; take .mkv")
        if codec == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to standard error directly
        stream = cast(VideoStream, self._container.add_stream(codec, rate=shape.rate, options=settings))
        stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, self.pix_fmt
        context = stream.codec_context
        context.time_base = self._time_base
        context.sample_aspect_ratio = info.sample_aspect  # PyAV sets the encoder's, and cannot set the container's
        keeps_aspect = (
            find_encoder(codec).canonical_name in ("h264", "hevc") or self.path.suffix.lower() in MP4_SUFFIXES
        )
        if info.sample_aspect != 1 and not (keeps_aspect or self._is_piped):
            self.left_out.append(f"sample aspect {info.sample_aspect}: {codec} keeps it in .mp4 only")
        context.colorspace = self._colour.matrix
        context.color_range = FULL if self._colour.full_range else LIMITED
        context.color_primaries = self._colour.primaries
        context.color_trc = self._colour.transfer
        if hasattr(context, "chroma_sample_location"):  # from PyAV 19 on
            context.chroma_sample_location = self._colour.siting
        if codec == "libx265" and self.path.suffix.lower() in MP4_SUFFIXES:
            context.codec_tag = "hvc1"  # the only tag that Apple's players know
        return stream

    def _add_track(self, stream: Stream, encode_audio: bool) -> None:
        """Add a track for a stream of the source, or say in `left_out` why not."""
        context = stream.codec_context
        name = context.name if context else "unknown"
        try:
            if encode_audio and isinstance(context, av.AudioCodecContext) and not is_copied(context):
                track = EncodedTrack(self._container, context.sample_rate, context.layout.name)
            elif self._is_piped or not self._can_hold(name):
                raise ValueError(f"{'a y4m pipe' if self._is_piped else self.path.suffix} cannot hold it")
            else:
                track = CopiedTrack(self._container, stream)
        except (ValueError, FFmpegError) as error:
            self.left_out.append(f"{stream.type} stream {stream.index} ({name}): {error}")
        else:
            self._tracks[stream.index] = track

    def _can_hold(self, codec: str) -> bool:
        """Return whether the container can hold a codec; True where libav finds out only when it writes."""
        is_listed = self._is_piped or self.path.suffix.lower() in (*MP4_SUFFIXES, *MATROSKA_SUFFIXES, ".avi", ".flv")
        return not is_listed or codec in self._container.supported_codecs
