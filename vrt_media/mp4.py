"""Tracks of a finished MP4 file that hold nothing, which libav writes for the cover pictures of fragmented files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

_PATH_TO_SIZES = (b"mdia", b"minf", b"stbl", b"stsz")
_HANDLER = (b"mdia", b"hdlr")


def hide_empty_videos(file: IO[bytes]) -> None:
    """Turn video tracks without samples into free space; nothing moves.

    Args:
        file: A finished file, open for reading and writing.

    Raises:
        OSError: If the file cannot be read or written.
    """
    moov = next((box for box in _top_boxes(file) if box[0] == b"moov"), None)
    if moov is None:
        return
    _, begin, end = moov
    file.seek(begin)
    data = file.read(end - begin)
    for kind, content, stop in _boxes(data, 0, len(data)):
        if kind != b"trak":
            continue
        handler, sizes = (_descend(data, content, stop, path) for path in (_HANDLER, _PATH_TO_SIZES))
        if handler[8:12] == b"vide" and len(sizes) >= 12 and not int.from_bytes(sizes[8:12], "big"):
            file.seek(begin + content - 4)  # behind the size, which takes four bytes in a header this small
            file.write(b"free")


def _top_boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over the boxes of a file: type, begin and end of the content."""
    position, size_of_file = 0, file.seek(0, 2)
    while position + 8 <= size_of_file:
        file.seek(position)
        header = file.read(16)
        size, content = int.from_bytes(header[:4], "big"), position + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16], "big"), position + 16
        end = size_of_file if size == 0 else position + size
        if end < content:
            return
        yield header[4:8], content, min(end, size_of_file)
        position = end


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over the boxes in a box that is in memory, all of them below 4 GiB."""
    while begin + 8 <= end:
        size = int.from_bytes(data[begin : begin + 4], "big")
        if size < 8:
            return
        yield data[begin + 4 : begin + 8], begin + 8, min(begin + size, end)
        begin += size


def _descend(data: bytes, begin: int, end: int, path: tuple[bytes, ...]) -> bytes:
    """Return the content of the box at a path; empty if there is none."""
    for name in path:
        box = next((box for box in _boxes(data, begin, end) if box[0] == name), None)
        if box is None:
            return b""
        _, begin, end = box
    return data[begin:end]
