"""Frames of the segment in work, as the encoder gets them: what a killed job does not have to restore again.

An encoder holds back frames, and its state cannot be stored. So the frames of a segment lie on the disk until the
segment is finished; a job that goes on encodes them again, to the same bytes. The record names how many there are, with
the digest of their data, and is written after these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av

from vrt_media.muxer import MuxPlan

from .disk import Disk, read_json, write_json

CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class SpillRecord:
    """Frames of a segment that lie on the disk."""

    index: int
    """Number of the segment."""
    stamps: list[int]
    """Time stamp of each frame."""
    line_sizes: list[int]
    """Bytes of a row of each plane."""
    num_bytes: int
    sha256: str


class Spill:
    """Frames of one segment on the disk."""

    def __init__(self, folder: Path, index: int, disk: Disk, earlier: SpillRecord | None = None) -> None:
        """Open the file.

        Args:
            folder: Folder of the segments.
            index: Number of the segment.
            disk: File system.
            earlier: Frames that are there already; those after them are dropped.
        """
        self._path, self._record_path = frames_path(folder, index), record_path(folder, index)
        self._index, self._disk = index, disk
        self._hash = hashlib.sha256()
        self._stamps: list[int] = []
        self._line_sizes: list[int] = []
        self._num_bytes = 0
        if earlier is None:
            self._record_path.unlink(missing_ok=True)
            self._file = disk.create(self._path)
            return
        self._stamps, self._line_sizes, self._num_bytes = list(earlier.stamps), earlier.line_sizes, earlier.num_bytes
        self._file = disk.reopen(self._path, earlier.num_bytes)
        while data := self._file.read(CHUNK_BYTES):
            self._hash.update(data)

    def append(self, frame: av.VideoFrame) -> None:
        """Store a frame."""
        self._line_sizes = [plane.line_size for plane in frame.planes]
        for plane in frame.planes:
            data = memoryview(plane)
            self._hash.update(data)
            self._num_bytes += len(data)
            while data:
                data = data[self._file.write(data) or 0 :]
        self._stamps.append(frame.pts or 0)

    def save(self) -> None:
        """Write the frames to the disk, then their record."""
        if not self._stamps:
            return
        self._disk.sync(self._file)
        record = SpillRecord(self._index, self._stamps, self._line_sizes, self._num_bytes, self._hash.hexdigest())
        write_json(self._record_path, asdict(record), self._disk)

    def close(self) -> None:
        """Close the file; the frames stay."""
        self._file.close()

    def remove(self) -> None:
        """Delete the frames."""
        self._file.close()
        self._record_path.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)


def read_record(folder: Path, index: int, plan: MuxPlan) -> SpillRecord | None:
    """Return the record of the frames of a segment; None if there are none, or if their data does not fit it."""
    facts, content = read_json(record_path(folder, index)), hashlib.sha256()
    try:
        record = SpillRecord(**facts)
        remaining = record.num_bytes
        with frames_path(folder, index).open("rb") as file:
            while remaining and (data := file.read(min(remaining, CHUNK_BYTES))):
                content.update(data)
                remaining -= len(data)
    except (TypeError, OSError):
        return None
    is_whole = not remaining and content.hexdigest() == record.sha256
    planes = av.VideoFrame(plan.width, plan.height, plan.pix_fmt).planes
    has_rows = record.line_sizes == [plane.line_size for plane in planes]  # another processor may align them otherwise
    return record if is_whole and has_rows and record.index == index else None


def read_frames(folder: Path, record: SpillRecord, plan: MuxPlan) -> Iterator[av.VideoFrame]:
    """Yield the frames of a record, as they were stored."""
    with frames_path(folder, record.index).open("rb") as file:
        for pts in record.stamps:
            frame = av.VideoFrame(plan.width, plan.height, plan.pix_fmt)
            for plane in frame.planes:
                plane.update(file.read(plane.buffer_size))
            plan.colour.tag(frame)
            frame.pts, frame.time_base = pts, plan.time_base
            yield frame


def frames_path(folder: Path, index: int) -> Path:
    """Return the file of the frames of a segment."""
    return folder / f"{index:06d}.frames"


def record_path(folder: Path, index: int) -> Path:
    """Return the file of their record."""
    return folder / f"{index:06d}.spill"


def frame_bytes(plan: MuxPlan) -> int:
    """Return the bytes that a frame takes on the disk."""
    return sum(plane.buffer_size for plane in av.VideoFrame(plan.width, plan.height, plan.pix_fmt).planes)
