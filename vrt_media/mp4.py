"""Header of a finished MP4 or MOV file, mended in place where libav writes it wrongly for files with fragments."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import IO

_SIZES, _HANDLER = (b"mdia", b"minf", b"stbl", b"stsz"), (b"mdia", b"hdlr")


def hide_empty_videos(file: IO[bytes]) -> None:
    """Turn video tracks without samples, which libav writes for cover pictures, into free space.

    Args:
        file: A finished file, open for reading and writing.

    Raises:
        OSError: If the file cannot be read or written.
    """
    begin, moov = _read_moov(file)
    for content, end in _videos(moov):
        sizes = _find(moov, content, end, _SIZES)
        if sizes and not _number(moov, sizes[0] + 8, 4):
            _write(file, begin + content - 4, b"free")  # behind the size, which takes four bytes in a header this small


def lengthen_first_video(file: IO[bytes], seconds: Fraction) -> None:
    """Let the edit list of the first video track last at least so long.

    Libav ends it where the frames of the last fragment end, which with B-frames may be before the last frame.

    Args:
        file: A finished file, open for reading and writing.
        seconds: Time from the begin of the first frame to the end of the last one.

    Raises:
        OSError: If the file cannot be read or written.
    """
    begin, moov = _read_moov(file)
    track = next(_videos(moov), None)
    edits = _find(moov, *track, (b"edts", b"elst")) if track else None
    movie = _find(moov, 0, len(moov), (b"mvhd",))
    head = _find(moov, *track, (b"tkhd",)) if track else None
    if not (edits and movie and head):
        return
    width = 8 if moov[edits[0]] else 4  # bytes of a time, by version
    num_edits, step = _number(moov, edits[0] + 4, 4), 2 * width + 4
    if not num_edits:
        return
    last = edits[0] + 8 + (num_edits - 1) * step
    timescale = _number(moov, movie[0] + (20 if moov[movie[0]] else 12), 4)
    duration = round(seconds * timescale)
    if _number(moov, last, width) >= duration:
        return
    before = sum(_number(moov, edits[0] + 8 + n * step, width) for n in range(num_edits - 1))
    _write(file, begin + last, duration.to_bytes(width, "big"))
    for box, offsets in (head, (20, 28)), (movie, (16, 24)):
        version = moov[box[0]]
        at, size = box[0] + offsets[version], 8 if version else 4
        _write(file, begin + at, max(before + duration, _number(moov, at, size)).to_bytes(size, "big"))


def _read_moov(file: IO[bytes]) -> tuple[int, bytes]:
    """Return position and content of the header; empty if there is none."""
    position, size_of_file = 0, file.seek(0, 2)
    while position + 8 <= size_of_file:
        file.seek(position)
        start = file.read(16)
        size, content = int.from_bytes(start[:4], "big"), position + 8
        if size == 1:
            size, content = int.from_bytes(start[8:16], "big"), position + 16
        end = size_of_file if size == 0 else position + size
        if end < content:
            break
        if start[4:8] == b"moov":
            file.seek(content)
            return content, file.read(end - content)
        position = end
    return 0, b""


def _videos(moov: bytes) -> Iterator[tuple[int, int]]:
    """Iterate over the video tracks of a header: begin and end of their content."""
    for kind, begin, end in _boxes(moov, 0, len(moov)):
        handler = _find(moov, begin, end, _HANDLER) if kind == b"trak" else None
        if handler and moov[handler[0] + 8 : handler[0] + 12] == b"vide":
            yield begin, end


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over the boxes between two positions: type, begin and end of the content; all are below 4 GiB."""
    while begin + 8 <= end:
        size = _number(data, begin, 4)
        if size < 8:
            return
        yield data[begin + 4 : begin + 8], begin + 8, min(begin + size, end)
        begin += size


def _find(data: bytes, begin: int, end: int, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """Return begin and end of the content of the box at a path; None if there is none."""
    for name in path:
        box = next((box for box in _boxes(data, begin, end) if box[0] == name), None)
        if box is None:
            return None
        _, begin, end = box
    return begin, end


def _number(data: bytes, begin: int, num_bytes: int) -> int:
    return int.from_bytes(data[begin : begin + num_bytes], "big")


def _write(file: IO[bytes], position: int, data: bytes) -> None:
    file.seek(position)
    file.write(data)
