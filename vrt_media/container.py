"""Media files as containers: opening them, and what they say of their video stream."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
from av.container import Container, InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from .clip import MediaError
from .pipe import StandardInput
from .timeline import as_fraction

DEFAULT_RATE = Fraction(25)
"""Frames per second of a video that does not give its rate."""
MAX_COUNTED_BYTES = 1 << 30
"""Size of the largest file that is read through to count its frames, if its header does not give their number."""

PIPE_BUFFER_BYTES = 1 << 20

MediaFile = str | Path | IO[bytes]
"""Path of a file, "-" for standard input, or a file in memory."""


def name_of(source: MediaFile) -> str:
    """Return the name of a file, for messages."""
    if isinstance(source, (str, Path)):
        return "standard input" if str(source) == "-" else str(source)
    return "the video in memory"


def local_path(container: Container) -> Path | None:
    """Return the path of an open file, None for pipes, URLs and files in memory."""
    path = Path(container.name.removeprefix("file:"))
    return path if container.name.startswith("file:") and path.is_file() else None


def open_input(source: MediaFile, options: Mapping[str, str] | None = None) -> InputContainer:
    """Open a file.

    Args:
        source: The file.
        options: Options of libav, such as `self_contained_options()`.

    Raises:
        MediaError: If the file does not exist, or if libav cannot read it.
    """
    name = name_of(source)
    is_piped = str(source) == "-"
    if is_piped and sys.stdin is None:
        raise MediaError("- reads y4m from standard input, which is closed")
    if is_piped and sys.stdin.isatty():
        raise MediaError("- reads y4m from standard input, but nothing is piped into it")
    path = Path(source) if isinstance(source, (str, Path)) else None
    is_url = isinstance(source, str) and "://" in source and not os.path.exists(source)
    try:
        if is_piped:
            return av.open(StandardInput(), "r", buffer_size=PIPE_BUFFER_BYTES, options=dict(options or {}))
        return av.open(source if path is None or is_url else f"file:{path}", "r", options=dict(options or {}))
    except InvalidDataError as error:
        is_empty = path is not None and path.is_file() and not path.stat().st_size
        reason = "it is empty (0 bytes)" if is_empty else f"no video or image that can be read ({error.strerror})"
        raise MediaError(f"{name}: {reason}") from None
    except FFmpegError as error:
        is_refused = options and error.errno == errno.EINVAL
        reason = "it is in a format that is not read here, such as a playlist" if is_refused else error.strerror
        raise MediaError(f"{name}: {reason}") from None


def main_video(container: InputContainer, name: str) -> VideoStream:
    """Return the video that players show: the first that is flagged as default, else the first; no cover picture.

    Raises:
        MediaError: If there is none.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise MediaError(f"{name}: no video stream in it")
    streams = [s for s in streams if s.codec_context is not None]
    if not streams:
        raise MediaError(f"{name}: no decoder for its video in this build of libav")
    return next((s for s in streams if s.disposition & Disposition.default), streams[0])


def average_rate(stream: VideoStream) -> Fraction:
    """Return the frames per second of a stream, on average."""
    return as_fraction(stream.average_rate or stream.guessed_rate, DEFAULT_RATE)


def count_frames(stream: VideoStream, rate: Fraction) -> int | None:
    """Return the number of frames of a stream, None if unknown.

    It is read from the header; else the packets of small files are counted, else it is computed from the duration.
    """
    if stream.frames:
        num_indexed = sum(not entry.is_discard for entry in stream.index_entries)  # without what an edit list cuts off
        return min(num_indexed, stream.frames) or stream.frames
    path = local_path(stream.container)
    if path is not None and path.stat().st_size <= MAX_COUNTED_BYTES:
        return count_packets(path, stream.index) or None
    seconds = duration_seconds(stream)
    return None if seconds is None else round(seconds * rate)


def count_packets(path: Path, index: int | None = None) -> int:
    """Return the number of packets of a stream, by default of the first video, up to the first that cannot be read."""
    num_packets = 0
    with suppress(FFmpegError, IndexError), av.open(f"file:{path}") as container:
        stream = container.streams.video[0] if index is None else container.streams[index]
        for packet in container.demux(stream):
            num_packets += packet.size > 0
    return num_packets


def duration_seconds(stream: VideoStream) -> Fraction | None:
    """Return the duration of a stream, or else of its file, in seconds; None if neither has one."""
    if stream.duration and stream.time_base:
        return stream.duration * as_fraction(stream.time_base, Fraction(1))
    duration = getattr(stream.container, "duration", None)
    return Fraction(duration, av.time_base) if duration else None
