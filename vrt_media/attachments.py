"""Attachments of a file: fonts of its subtitles, and cover pictures."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import AttachmentStream, Disposition, Stream

from .container import local_path

MIME_TYPES = {"mjpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
"""Types of cover pictures, by decoder."""
SUFFIXES = {"mjpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif"}
MAX_PACKETS = 200
"""Packets that are read to find the cover pictures, which come first."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file within a file."""

    index: int
    """Number of its stream in the source."""
    name: str
    mime_type: str
    data: bytes

    def __str__(self) -> str:
        return f"attachment {self.index} ({self.name})"


def is_attachment(stream: Stream) -> bool:
    """Return whether a stream holds an attachment."""
    return stream.type == "attachment" or bool(stream.disposition & Disposition.attached_pic)


def add_cover(container: OutputContainer, attachment: Attachment) -> av.Packet:
    """Add a cover picture as MP4 has it: a video stream of one packet, which is to be muxed first.

    Raises:
        ValueError: If it is no picture that the container can hold.
    """
    try:
        with av.open(io.BytesIO(attachment.data)) as picture:
            stream = container.add_stream_from_template(picture.streams.video[0], opaque=True)
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"{attachment.name} is no picture") from error
    stream.disposition = Disposition.attached_pic
    packet = av.Packet(attachment.data)
    packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 1000), True
    packet.pts = packet.dts = 0
    return packet


def read_attachments(container: InputContainer) -> list[Attachment]:
    """Return the attachments of a file; without cover pictures if it is not a local file, which is opened again."""
    attachments = [
        Attachment(
            index=stream.index,
            name=stream.name or f"attachment_{stream.index}",
            mime_type=stream.mimetype or "application/octet-stream",
            data=stream.data,
        )
        for stream in container.streams
        if isinstance(stream, AttachmentStream)
    ]
    path = local_path(container)
    pictures = [
        stream
        for stream in container.streams.video
        if is_attachment(stream) and stream.codec_context is not None and stream.codec_context.name in MIME_TYPES
    ]
    if path is None or not pictures:
        return attachments
    missing = {stream.index: stream for stream in pictures}
    with av.open(f"file:{path}", "r") as again:
        packets = again.demux([again.streams[index] for index in missing])
        for packet in itertools.islice(packets, MAX_PACKETS):
            stream = missing.pop(packet.stream_index, None)
            if stream is not None and packet.size:
                codec = stream.codec_context.name
                name = stream.metadata.get("filename", f"cover{SUFFIXES[codec]}")
                mime_type = stream.metadata.get("mimetype", MIME_TYPES[codec])
                attachments.append(Attachment(index=stream.index, name=name, mime_type=mime_type, data=bytes(packet)))
            if not missing:
                break
    return attachments
