"""Muxer of an output: one encoded video stream, and tracks of copied or encoded packets, in a container."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import av
from av.container import Flags, OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from .attachments import MIME_TYPES, Attachment, add_cover
from .audio import CopiedTrack, EncodedTrack, Track, is_copied
from .clip import MediaError
from .colour import FULL, LIMITED, Colour
from .encoding import find_encoder, reproducible
from .matroska import LayoutError, set_display_size
from .mp4 import hide_empty_videos, lengthen_first_video
from .scheduling import unchanged_scheduling

_log = logging.getLogger(__name__)

MP4_SUFFIXES = (".mp4", ".m4v", ".mov")
MATROSKA_SUFFIXES = (".mkv", ".webm")
CRASH_SAFE_OPTIONS = {
    **{s: {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": "1000000"} for s in MP4_SUFFIXES},
    **{s: {"cluster_time_limit": "1000"} for s in MATROSKA_SUFFIXES},
}
"""Muxer options that complete a fragment every second; closing turns a fragmented MP4 into an ordinary one."""

MAX_FRAMES_IN_ENCODER = 300
MIN_FRAMES_OF_X265 = 3
"""Shorter clips get decoding times from x265 that are memory it has not set; their frames need no reordering."""


@dataclass(frozen=True, kw_only=True)
class MuxPlan:
    """What an output consists of."""

    suffix: str
    """Suffix of the file in lower case, which selects the container; ".y4m" for pipes, too."""
    codec: str
    settings: Mapping[str, str]
    """Options of the encoder."""
    pix_fmt: str
    colour: Colour
    height: int
    width: int
    rate: Fraction
    """Frames per second."""
    time_base: Fraction
    """Seconds per unit of the frames' time stamps."""
    sample_aspect: Fraction = Fraction(1)
    streams: Sequence[Stream] = ()
    """Streams of the source that get a track."""
    encode_audio: bool = False
    """Whether to encode audio as AAC unless its codec is one of `COPIED_CODECS`."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    chapters: Sequence[Any] = ()
    attachments: Sequence[Attachment] = ()
    crash_safe: bool = True

    @property
    def is_y4m(self) -> bool:
        """Whether the output is y4m, which holds video only."""
        return self.suffix == ".y4m"


@dataclass(frozen=True)
class EncodedPacket:
    """A packet of the video stream; time stamps in units of the plan's time base."""

    data: bytes
    pts: int
    dts: int
    is_keyframe: bool
    duration: int = 0
    """Time until the next frame is shown."""
    end: int | None = None
    """Time at which the last frame ends, for the last packet; None for the others."""


class Muxer:
    """Writes the streams of a plan to a file.

    Attributes:
        container: The container.
        video: Its video stream.
        tracks: Its other streams, by index of the stream in the source.
    """

    def __init__(self, file: IO[bytes] | Any | str, plan: MuxPlan) -> None:
        """Add the streams; nothing is written before the first packet.

        Args:
            file: File object, or URL for libav.
            plan: Streams and container.

        Raises:
            MediaError: If libav has no such container.
            ValueError: If the container cannot hold one of the codecs; or `av.FFmpegError`.
        """
        self._file, self._plan = file, plan
        self._stamps: deque[int] = deque(maxlen=MAX_FRAMES_IN_ENCODER)  # of the last frames
        self._first_pts: int | None = None
        self._end: int | None = None  # of the last frame, if it was encoded before
        self._first_dts: int | None = None
        self.container = _open(file, plan)
        self.video = _add_video(self.container, plan)
        self.tracks = {stream.index: _add_track(self.container, stream, plan) for stream in plan.streams}
        self.container.metadata.update(plan.metadata)
        self._covers = [packet for each in plan.attachments if (packet := _add_attachment(self.container, each, plan))]
        if plan.chapters:
            self.container.set_chapters(list(plan.chapters))
        with unchanged_scheduling():
            self.video.codec_context.open(strict=False)

    def encode(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame, or the frames that wait in the encoder if None, and write the packets."""
        if frame is not None and frame.pts is not None:
            self._stamps.append(frame.pts)
            self._first_pts = frame.pts if self._first_pts is None else self._first_pts
        packets = self.video.encode(frame)
        if frame is None and self._plan.codec == "libx265" and len(self._stamps) < MIN_FRAMES_OF_X265:
            for packet in packets:
                packet.dts = packet.pts
        for packet in packets:
            packet.duration = self._duration(packet.pts)
            self._first_dts = packet.dts if self._first_dts is None else self._first_dts
        if frame is None and packets:
            self._stretch(packets[-1])
        self._mux(packets)

    def write(self, encoded: EncodedPacket) -> None:
        """Write a packet that was encoded before, with the settings of the plan; in the order of decoding."""
        if self._first_dts is None:
            self._first_dts, self._first_pts = encoded.dts, encoded.pts
        packet = av.Packet(encoded.data)
        packet.stream, packet.time_base = self.video, self._plan.time_base
        packet.pts, packet.dts, packet.is_keyframe = encoded.pts, encoded.dts, encoded.is_keyframe
        packet.duration, self._end = encoded.duration, encoded.end
        if encoded.end is not None:
            self._stretch(packet)
        self._mux([packet])

    @property
    def extradata(self) -> bytes:
        """Headers of the video codec, once its encoder is open."""
        return bytes(self.video.codec_context.extradata or b"")

    def _mux(self, packets: list[av.Packet]) -> None:
        """Write packets, the first ones after the covers: fragments of MP4 do not begin with these."""
        if packets:
            packets, self._covers = [*self._covers, *packets], []
        self.container.mux(packets)

    def _stretch(self, packet: av.Packet) -> None:
        """Let the last packet in decoding order last to the end of the last frame; the track ends with it."""
        if packet.dts is not None and self._first_dts is not None and self._plan.suffix in MP4_SUFFIXES:
            packet.duration = self._length - (packet.dts - self._first_dts)

    @property
    def _length(self) -> int:
        """Time from the first frame to the end of the last one, in units of the plan's time base."""
        if self._first_pts is None:
            return 0
        end = self._stamps[-1] + self._duration(self._stamps[-1]) if self._end is None else self._end
        return end - self._first_pts

    def _duration(self, pts: int | None) -> int:
        """Return the time to the next frame, which encoders do not know; MP4 ends with the last packet's."""
        later = [stamp for stamp in self._stamps if pts is not None and stamp > pts]
        if later and pts is not None:
            return min(later) - pts
        steps = [b - a for a, b in pairwise(self._stamps)]
        return steps[-1] if steps else max(1, round(1 / (self._plan.rate * self._plan.time_base)))

    def finish(self, further: Iterable[Track] = ()) -> None:
        """Write what tracks and encoder hold, and complete the container; all of it even after an error.

        Raises:
            av.FFmpegError: The first error.
        """
        first_error: Exception | None = None
        steps = [track.finish for track in (*self.tracks.values(), *further)]
        for step in (lambda: self.encode(None), *steps, self.container.close, self._complete_header):
            try:
                step()
            except (FFmpegError, OSError, ValueError) as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def _complete_header(self) -> None:
        """State the shape of samples in Matroska, which PyAV cannot, and mend what libav writes wrongly in MP4."""
        plan = self._plan
        if plan.suffix in MP4_SUFFIXES and not isinstance(self._file, str):
            lengthen_first_video(self._file, self._length * plan.time_base)
            if plan.attachments:
                hide_empty_videos(self._file)
        is_stated = plan.suffix not in MATROSKA_SUFFIXES or _is_in_codec(plan.codec)
        if plan.sample_aspect == 1 or is_stated or isinstance(self._file, str):
            return
        try:
            set_display_size(self._file, max(1, round(plan.width * plan.sample_aspect)), plan.height)
        except LayoutError as error:
            _log.warning("the sample aspect %s is lost: %s", plan.sample_aspect, error)


def _open(file: Any, plan: MuxPlan) -> OutputContainer:
    if plan.is_y4m:
        return av.open(file, "w", format="yuv4mpegpipe", options={"strict": "-1"})
    options = CRASH_SAFE_OPTIONS.get(plan.suffix, {}) if plan.crash_safe else {}
    advice = f"suffix {plan.suffix!r} names no video container; take .mkv or .mp4, or a folder for images"
    try:
        container = av.open(file, "w", container_options=dict(options))
    except ValueError as error:
        if isinstance(error, FFmpegError):
            raise
        raise MediaError(advice) from None
    if container.format.no_file:  # image sequences and playlists, which open files by patterns
        raise MediaError(advice)
    container.flags |= Flags.bitexact.value  # no random numbers in the file: equal clips give equal files
    if plan.crash_safe:
        container.flags |= Flags.flush_packets.value
    return container


def _add_video(container: OutputContainer, plan: MuxPlan) -> VideoStream:
    if plan.codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to standard error directly
    try:
        options = reproducible(plan.codec, plan.settings)
        stream = cast(VideoStream, container.add_stream(plan.codec, rate=plan.rate, options=options))
    except ValueError as error:
        if isinstance(error, FFmpegError):
            raise
        raise MediaError(f"{plan.suffix} cannot hold what {plan.codec} makes; take .mkv") from None
    stream.width, stream.height, stream.pix_fmt = plan.width, plan.height, plan.pix_fmt
    context = stream.codec_context
    context.time_base = plan.time_base
    context.sample_aspect_ratio = plan.sample_aspect  # PyAV sets the encoder's, and cannot set the container's
    context.colorspace = plan.colour.matrix
    context.color_range = FULL if plan.colour.full_range else LIMITED
    context.color_primaries = plan.colour.primaries
    context.color_trc = plan.colour.transfer
    if hasattr(context, "chroma_sample_location"):  # from PyAV 19 on
        context.chroma_sample_location = plan.colour.siting
    if plan.codec == "libx265" and plan.suffix in MP4_SUFFIXES:
        context.codec_tag = "hvc1"  # the only tag that Apple's players know
    return stream


def _add_track(container: OutputContainer, stream: Stream, plan: MuxPlan) -> Track:
    context = stream.codec_context
    if plan.encode_audio and isinstance(context, av.AudioCodecContext) and not is_copied(context):
        return EncodedTrack(container, context.sample_rate, context.layout.name)
    return CopiedTrack(container, stream)


def _add_attachment(container: OutputContainer, attachment: Attachment, plan: MuxPlan) -> av.Packet | None:
    """Add an attachment; return the packet of one that is a stream.

    Raises:
        ValueError: If the container cannot hold it.
    """
    if plan.suffix == ".mp4" and attachment.mime_type in MIME_TYPES.values():
        return add_cover(container, attachment)
    if plan.suffix != ".mkv":
        raise ValueError(f"{container.format.name} does not support attachments")
    container.add_attachment(attachment.name, attachment.mime_type, attachment.data)
    return None


def keeps_sample_aspect(suffix: str, codec: str) -> bool:
    """Return whether an output states the shape of its samples, in the codec or in the container."""
    return _is_in_codec(codec) or suffix in (*MP4_SUFFIXES, *MATROSKA_SUFFIXES, ".mxf", ".y4m")


def _is_in_codec(codec: str) -> bool:
    """Return whether encoded frames state the shape of their samples."""
    return find_encoder(codec).canonical_name in ("h264", "hevc", "mpeg4")


def container_name(path: str | Path) -> str:
    """Return the suffix that selects the container of an output."""
    return ".y4m" if str(path) == "-" else Path(path).suffix.lower()
