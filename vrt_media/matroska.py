"""Display size in the header of a Matroska or WebM file, which PyAV cannot set before the file is written.

A file states the shape of its samples by the size at which frames are shown. The header grows into the padding that
libav leaves behind the list of its parts (SeekHead), so nothing behind the header moves. Names are those of RFC 9559.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

EBML, SEGMENT, SEEK_HEAD, SEEK, SEEK_POSITION = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x4DBB, 0x53AC
TRACKS, TRACK_ENTRY, TRACK_TYPE, VIDEO_TRACK, VIDEO = 0x1654AE6B, 0xAE, 0x83, 1, 0xE0
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
VOID, CRC_32 = 0xEC, 0xBF
MAX_HEADER_BYTES = 1 << 20
_LONG_VOID_BYTES = 9
"""Bytes of a Void element whose size takes eight bytes, without content."""


class LayoutError(ValueError):
    """A header that is not laid out as libav does it."""


@dataclass(frozen=True)
class _Element:
    name: int
    """Element ID."""
    begin: int
    """Position of its first byte."""
    content: int
    """Position of its first byte behind ID and size."""
    end: int


def set_display_size(file: IO[bytes], width: int, height: int) -> None:
    """State the size at which the frames of the first video track are shown; all else is left as it is.

    Args:
        file: A finished file of libav's, open for reading and writing.
        width: Pixels.
        height: Pixels.

    Raises:
        LayoutError: If the header has another layout than libav's, or too little padding; nothing is written then.
        OSError: If the file cannot be read or written.
    """
    file.seek(0)
    data = file.read(MAX_HEADER_BYTES)
    try:
        begin, header = _with_display_size(data, width, height)
    except (IndexError, StopIteration) as error:
        raise LayoutError("the header of the file is not laid out as expected") from error
    file.seek(begin)
    file.write(header)


def _with_display_size(data: bytes, width: int, height: int) -> tuple[int, bytes]:
    """Return the header from SeekHead to Tracks, of the same length, and its position."""
    top = _elements(data, 0, len(data))
    if next(top).name != EBML or (segment := next(top)).name != SEGMENT:
        raise LayoutError("the file does not begin as Matroska")
    parts = _elements(data, segment.content, len(data))
    seek_head, padding = next(parts), next(parts)
    if (seek_head.name, padding.name) != (SEEK_HEAD, VOID):
        raise LayoutError("the header has no padding behind its first element")
    tracks = next(part for part in parts if part.name == TRACKS)
    if tracks.end > len(data):
        raise LayoutError(f"the header is longer than {MAX_HEADER_BYTES} bytes")
    new_tracks = _element(TRACKS, _tracks_with_display_size(data, tracks, width, height))
    growth = len(new_tracks) - (tracks.end - tracks.begin)
    padding_bytes = padding.end - padding.begin - growth - _LONG_VOID_BYTES
    if padding_bytes < 0:
        raise LayoutError(f"the header has {-padding_bytes} bytes too little padding")
    moved = range(padding.end - segment.content, tracks.begin - segment.content + 1)
    return seek_head.begin, b"".join(
        (
            data[seek_head.begin : seek_head.content],
            _seek_head_with_moved_parts(data, seek_head, moved, growth),
            bytes([VOID, 0x01]) + padding_bytes.to_bytes(7, "big") + bytes(padding_bytes),
            data[padding.end : tracks.begin],
            new_tracks,
        )
    )


def _seek_head_with_moved_parts(data: bytes, seek_head: _Element, moved: range, growth: int) -> bytes:
    """Return the content of SeekHead, in which the positions in a range are smaller by `growth`."""
    content = bytearray(data[seek_head.content : seek_head.end])
    for seek in _elements(data, seek_head.content, seek_head.end):
        if seek.name != SEEK:
            continue
        position = next(e for e in _elements(data, seek.content, seek.end) if e.name == SEEK_POSITION)
        value = int.from_bytes(data[position.content : position.end], "big")
        if value in moved:
            inside = slice(position.content - seek_head.content, position.end - seek_head.content)
            try:
                content[inside] = (value - growth).to_bytes(position.end - position.content, "big")
            except OverflowError:
                raise LayoutError("a position in the header does not fit into its bytes") from None
    return _with_crc(bytes(content))


def _tracks_with_display_size(data: bytes, tracks: _Element, width: int, height: int) -> bytes:
    """Return the content of Tracks."""
    content, is_done = b"", False
    for entry in _elements(data, tracks.content, tracks.end):
        children = list(_elements(data, entry.content, entry.end)) if entry.name == TRACK_ENTRY else []
        kinds = [data[e.content : e.end] for e in children if e.name == TRACK_TYPE]
        if is_done or kinds != [bytes([VIDEO_TRACK])]:
            content += data[entry.begin : entry.end]
            continue
        is_done = True
        content += _element(
            TRACK_ENTRY,
            b"".join(
                _element(VIDEO, _video_with_display_size(data, e, width, height))
                if e.name == VIDEO
                else data[e.begin : e.end]
                for e in children
            ),
        )
    if not is_done:
        raise LayoutError("the file has no video track")
    return _with_crc(content)


def _video_with_display_size(data: bytes, video: _Element, width: int, height: int) -> bytes:
    """Return the content of Video; sizes are in pixels if it has no DisplayUnit."""
    replaced = (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT)
    others = [e for e in _elements(data, video.content, video.end) if e.name not in replaced]
    sizes = [_element(name, _unsigned(n)) for name, n in ((DISPLAY_WIDTH, width), (DISPLAY_HEIGHT, height))]
    return b"".join([*(data[e.begin : e.end] for e in others), *sizes])


def _elements(data: bytes, begin: int, end: int) -> Iterator[_Element]:
    """Iterate over the elements between two positions."""
    while begin < end:
        at = begin + _length_of_number(data[begin])
        name, size_bytes = int.from_bytes(data[begin:at], "big"), _length_of_number(data[at])
        content = at + size_bytes
        size = int.from_bytes(data[at:content], "big") & ((1 << 7 * size_bytes) - 1)
        yield _Element(name, begin, content, content + size)
        begin = content + size


def _length_of_number(first: int) -> int:
    """Return the bytes of an EBML number, by its first byte."""
    return 9 - first.bit_length()


def _element(name: int, content: bytes) -> bytes:
    size_bytes = next(n for n in range(1, 9) if len(content) < (1 << 7 * n) - 1)
    return _unsigned(name) + ((1 << 7 * size_bytes) | len(content)).to_bytes(size_bytes, "big") + content


def _unsigned(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _with_crc(content: bytes) -> bytes:
    """Return content with its checksum renewed, if it begins with one."""
    if not content.startswith(bytes([CRC_32, 0x84])):
        return content
    rest = content[6:]
    return content[:2] + zlib.crc32(rest).to_bytes(4, "little") + rest
