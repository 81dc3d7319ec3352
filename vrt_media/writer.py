"""Writer of video files and y4m pipes: encodes frames, copies other streams, and leaves a playable file behind."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.error import FFmpegError
from av.stream import Stream
from torch import Tensor

from .attachments import Attachment
from .audio import EncodedTrack
from .clip import ClipInfo, MediaError
from .colour import LEFT, colour_for
from .encoding import Y4M_FORMATS, Encoding, check_pix_fmt, choose_pix_fmt, find_encoder
from .muxer import Muxer, MuxPlan, container_name, keeps_sample_aspect
from .part_file import PartFile
from .planes import write_rgb
from .rehearsal import describe_refusal, rehearse
from .timeline import as_fraction

_log = logging.getLogger(__name__)


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

    The file has `.part` in its name until `close` (see `PartFile`), and can be played at any time. As a context
    manager, it closes the file, or deletes it after an exception.

    Attributes:
        num_frames: Frames written so far.
        codec: Encoder.
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
        attachments: Sequence[Attachment] = (),
        crash_safe: bool = True,
        overwrite: bool = False,
        on_note: Callable[[str], object] = _log.warning,
    ) -> None:
        """Rehearse the output, and create the part.

        Args:
            path: File, whose suffix selects the container, or "-" for y4m on standard output.
            info: Source: its colour, pixel format and sample aspect.
            shape: Output.
            encoding: Encoder and its settings.
            streams: Streams of the source whose packets `copy` will get.
            encode_audio: Whether to encode audio as AAC unless its codec is one of `COPIED_CODECS`.
            metadata: Title and the like, by libav's names.
            chapters: Chapters, as libav has them.
            attachments: Fonts and cover pictures.
            crash_safe: Whether an MP4, MOV or Matroska file can be played up to its last second or so even if the
                process is killed.
            overwrite: Whether `close` replaces a file of that name.
            on_note: Called by `close` with what the user should know.

        Raises:
            MediaError: If container, encoder, pixel format and size do not fit each other.
            OSError: If the file cannot be created.
        """
        self.num_frames = 0
        self.path, self._overwrite, self._on_note = Path(path), overwrite, on_note
        self._is_piped = str(path) == "-"
        plan = _plan(container_name(path), info, shape, encoding)
        self._is_y4m = plan.is_y4m
        self.codec, self.pix_fmt, self._colour = plan.codec, plan.pix_fmt, plan.colour
        self._rate, self._time_base, self._end_seconds = shape.rate, plan.time_base, Fraction(0)
        self._waiting: deque[av.Packet] = deque()  # of other streams, until the frames of their time are written
        self._refused: Counter[str] = Counter()
        self._audio: list[EncodedTrack] = []
        if plan.is_y4m:
            holder = "a y4m pipe" if self._is_piped else ".y4m"
            self.left_out = [describe_refusal(stream, holder) for stream in (*streams, *attachments)]
        else:
            plan = replace(
                plan,
                streams=tuple(streams),
                encode_audio=encode_audio,
                metadata=metadata or {},
                chapters=chapters,
                crash_safe=crash_safe,
                attachments=attachments,
            )
            plan, self.left_out = rehearse(plan, str(self.path))
        if info.mastering is not None and (plan.is_y4m or info.mastering.add_to(plan.codec, {}) is None):
            self.left_out.append(f"mastering display and light level of HDR10: {plan.codec} cannot hold them")
        if info.sample_aspect != 1 and not keeps_sample_aspect(plan.suffix, plan.codec):
            self.left_out.append(f"sample aspect {info.sample_aspect}: {plan.codec} in {plan.suffix} does not state it")
        self._file = None if self._is_piped else PartFile(self.path)
        try:
            self._muxer = Muxer("pipe:1" if self._file is None else self._file, plan)
        except BaseException:
            if self._file is not None:
                self._file.discard()
            raise

    @property
    def result(self) -> Path | None:
        """Where the frames are: the part, or the file once `close` gave it its name; None for a pipe."""
        return self._file.path if self._file is not None and self._file.path.exists() else None

    def add_audio(self, rate: int, layout: str) -> EncodedTrack:
        """Add an AAC track for audio that is not in a file; call it before the first frame is written."""
        self._audio.append(EncodedTrack(self._muxer.container, rate, layout))
        return self._audio[-1]

    def write(self, rgb: Tensor, pts: int) -> None:
        """Encode one frame, (3, H, W); `pts` is in units of the shape's time base."""
        frame = write_rgb(rgb, self.pix_fmt, self._colour)
        frame.pts, frame.time_base = (self.num_frames if self._is_y4m else pts), self._time_base
        self._muxer.encode(frame)
        self.num_frames += 1
        self._end_seconds = (frame.pts + 1 / (self._rate * self._time_base)) * self._time_base
        self._write_waiting(self._end_seconds)

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of one of the `streams`, once the frames of its time are written."""
        if packet.stream.index in self._muxer.tracks and packet.size:
            self._waiting.append(packet)

    def close(self, *, complete: bool = True) -> None:
        """Encode what waits, finish the container, and give the file its name.

        An incomplete file replaces no other: it gets its name only if that is free, else it remains in the part.

        Args:
            complete: Whether all frames were written; if not, other streams end with the last frame.

        Raises:
            MediaError: If there is a file of that name now, and it may not be replaced; the part remains.
            OSError: If something cannot be written, or `av.FFmpegError`; the part remains.
        """
        self._finish(complete)
        if self._file is not None and (complete or not self.path.exists()):
            self._file.publish(overwrite=self._overwrite and complete)

    def discard(self) -> None:
        """Close and delete the file."""
        try:
            self._muxer.container.close()
        except (FFmpegError, OSError, ValueError, RuntimeError) as error:
            _log.debug("closing an unfinished file: %s", error)
        if self._file is not None:
            self._file.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def _finish(self, complete: bool) -> None:
        """Write everything that waits, and complete the container."""
        try:
            self._write_waiting(None if complete else self._end_seconds)
        finally:
            try:
                self._muxer.finish(self._audio)
            finally:
                if self._file is not None:
                    self._file.close()
        for index, track in self._muxer.tracks.items():
            if isinstance(track, EncodedTrack) and track.num_damaged:
                self._refused[f"audio stream {index}"] += track.num_damaged
        for name, number in self._refused.items():
            self._on_note(f"{name}: {number} damaged packet{'' if number == 1 else 's'} left out")

    def _write_waiting(self, end_seconds: Fraction | None) -> None:
        """Write the packets that begin before that time; all if None."""
        later: deque[av.Packet] = deque()
        for packet in self._waiting:
            pts = packet.dts if packet.dts is not None else packet.pts
            unit = as_fraction(packet.time_base, Fraction(1))
            if end_seconds is not None and pts is not None and pts * unit >= end_seconds:
                later.append(packet)
            else:
                self._feed(packet)
        self._waiting = later

    def _feed(self, packet: av.Packet) -> None:
        """Write a packet; one that the container refuses is left out, since a damaged packet must not end the job."""
        stream = packet.stream
        try:
            self._muxer.tracks[stream.index].feed(packet)
        except FFmpegError as error:
            if self._file is None or self._file.error is not None:
                raise
            self._refused[f"{stream.type} stream {stream.index}"] += 1
            _log.debug("%s", error)


def _plan(suffix: str, info: ClipInfo, shape: OutputShape, encoding: Encoding) -> MuxPlan:
    """Return the plan of an output without other streams.

    Raises:
        MediaError: If encoder and pixel format do not fit each other.
    """
    is_y4m = suffix == ".y4m"
    codec, settings = ("wrapped_avframe", {}) if is_y4m else (encoding.codec, encoding.settings())
    offered = Y4M_FORMATS if is_y4m else tuple(f.name for f in find_encoder(codec).video_formats or ())
    if info.mastering is not None and not is_y4m:
        settings = info.mastering.add_to(codec, settings) or settings
    pix_fmt = (
        check_pix_fmt(encoding.pix_fmt)
        if encoding.pix_fmt
        else choose_pix_fmt(offered, info.pix_fmt, shape.height, shape.width)
    )
    if offered and pix_fmt not in offered:
        raise MediaError(f"--pix-fmt {pix_fmt}: {codec} takes {', '.join(offered)}")
    colour, time_base = colour_for(pix_fmt, info.colour, shape.height, shape.width), shape.time_base
    if is_y4m:  # it has one rate, and readers take untagged siting for JPEG's
        colour, time_base = replace(colour, siting=colour.siting or LEFT), 1 / shape.rate
    return MuxPlan(
        suffix=suffix,
        codec=codec,
        settings=settings,
        pix_fmt=pix_fmt,
        colour=colour,
        height=shape.height,
        width=shape.width,
        rate=shape.rate,
        time_base=time_base,
        sample_aspect=info.sample_aspect,
    )
