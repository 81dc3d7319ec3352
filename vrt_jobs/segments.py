"""Segments under construction: encoded frames in one file, or a folder of images."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import av
from torch import Tensor

from vrt_media.encoded import FrameEncoder
from vrt_media.image_writer import deep_format, encode_image
from vrt_media.muxer import EncodedPacket, MuxPlan

from .disk import DurableFile
from .folder import JobFolder, Record
from .spill import Spill, SpillRecord, read_frames, read_record


class Segment(Protocol):
    """Frames of one segment, in order."""

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write a frame, (3, H, W)."""
        ...

    def checkpoint(self) -> None:
        """Record the frames so far, so that a job that goes on has them."""
        ...

    def close(self) -> Record:
        """Write the data to the disk; return the record."""
        ...

    def clear(self) -> None:
        """Delete what only a segment in work needs."""
        ...

    def leave(self) -> None:
        """End the segment before it is whole; what the last checkpoint recorded stays."""
        ...


class VideoSegment:
    """A segment of encoded frames: all packets in one file, one after another.

    Attributes:
        num_frames: Frames so far.
    """

    def __init__(
        self, folder: JobFolder, index: int, first_frame: int, plan: MuxPlan, earlier: SpillRecord | None = None
    ) -> None:
        """Open an encoder for it, and encode the frames that an earlier run left.

        Args:
            folder: Job.
            index: Number of the segment.
            first_frame: Number of its first output frame.
            plan: Settings of the encoder.
            earlier: These frames.
        """
        self._index, self._first_frame = index, first_frame
        self._encoder = FrameEncoder(plan)
        self._name = f"{index:06d}.packets"
        self._file = DurableFile(folder.segments / self._name, folder.disk)
        self._packets: list[tuple[int, int, int, bool]] = []
        self.num_frames = 0
        for frame in () if earlier is None else read_frames(folder.segments, earlier, plan):
            self._encode(frame)
        self._spill = Spill(folder.segments, index, folder.disk, earlier)

    def write(self, rgb: Tensor, pts: int) -> None:
        """Encode a frame."""
        frame = self._encoder.convert(rgb, pts)
        self._spill.append(frame)
        self._encode(frame)

    def checkpoint(self) -> None:
        """Record the frames so far, so that a job that goes on has them."""
        self._spill.save()

    def close(self) -> Record:
        """Encode what waits, and write the data to the disk."""
        self._store(self._encoder.encode(None))
        self._file.publish()
        return Record(
            self._index,
            self._first_frame,
            self.num_frames,
            {self._name: self._file.sha256},
            self._packets,
            hashlib.sha256(self._encoder.extradata).hexdigest(),
        )

    def clear(self) -> None:
        """Delete what only a segment in work needs."""
        self._spill.remove()

    def leave(self) -> None:
        """Close the files; the frames of the last checkpoint stay."""
        self._file.discard()
        self._spill.close()

    def _encode(self, frame: av.VideoFrame) -> None:
        self._store(self._encoder.encode(frame))
        self.num_frames += 1

    def _store(self, packets: Sequence[EncodedPacket]) -> None:
        for packet in packets:
            self._file.write(packet.data)
            self._packets.append((packet.pts, packet.dts, len(packet.data), packet.is_keyframe))


class ImageSegment:
    """A segment of images, in a folder of its own until the output gets them."""

    def __init__(
        self, folder: JobFolder, index: int, first_frame: int, names: Callable[[int], str], *, deep: bool, suffix: str
    ) -> None:
        """Create the folder, empty.

        Args:
            folder: Job.
            index: Number of the segment.
            first_frame: Number of its first output frame.
            names: Name of the image of an output frame, without suffix.
            deep: Whether to write 16 bits per channel instead of 8.
            suffix: Suffix of the images.
        """
        self._folder, self._index, self._first_frame, self._names = folder, index, first_frame, names
        self._suffix, self._pix_fmt, self._files = suffix, deep_format(suffix, deep), dict[str, str]()
        self._path = folder.segments / f"{index:06d}"
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir()

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write one image; images have no time stamps."""
        self.store(encode_image(rgb, self._suffix, self._pix_fmt))

    def store(self, data: bytes) -> None:
        """Write one image that is encoded."""
        name = f"{self._names(self._first_frame + len(self._files))}{self._suffix}"
        file = DurableFile(self._path / name, self._folder.disk)
        try:
            file.write(data)
            file.publish()
        except BaseException:
            file.discard()
            raise
        self._files[f"{self._path.name}/{name}"] = file.sha256

    def close(self) -> Record:
        """Return the record; the images are on the disk."""
        self._folder.disk.sync_folder(self._folder.segments)
        return Record(self._index, self._first_frame, len(self._files), self._files)

    def checkpoint(self) -> None:
        """Do nothing: segments of images are short."""

    def clear(self) -> None:
        """Do nothing: the images are what is needed."""

    def leave(self) -> None:
        """Do nothing: the folder is emptied when the segment begins again."""


class JobWriter:
    """Writes output frames in segments of equal length; a `FrameWriter`.

    Attributes:
        num_frames: Number of the next output frame, counted from the start of the clip.
    """

    def __init__(
        self,
        folder: JobFolder,
        make_segment: Callable[[int, int], Segment],
        *,
        segment_frames: int,
        checkpoint_frames: int,
        first_frame: int,
        on_segment: Callable[[Record], object] = lambda record: None,
    ) -> None:
        """Begin before a frame.

        Args:
            folder: Job.
            make_segment: Called with the number of a segment, and of its first frame; has the frames of its checkpoint.
            segment_frames: Frames of each segment; the last one may have fewer.
            checkpoint_frames: Frames after which those of an unfinished segment are recorded.
            first_frame: Number of the first frame to be written.
            on_segment: Called with each segment that is finished.
        """
        self._folder, self._make_segment, self._on_segment = folder, make_segment, on_segment
        self._segment_frames, self._checkpoint_frames = segment_frames, checkpoint_frames
        self.num_frames = first_frame
        self._segment: Segment | None = None
        self._is_cut_short = False
        if first_frame % segment_frames:
            self._open_segment()

    @property
    def result(self) -> Path:
        """Where the frames are."""
        return self._folder.path

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write a frame, (3, H, W); the last one of a segment finishes it."""
        segment = self._segment or self._open_segment()
        segment.write(rgb, pts)
        self.num_frames += 1
        if self._is_cut_short:
            return
        if self.num_frames % self._segment_frames == 0:
            self._finish_segment()
        elif self.num_frames % self._checkpoint_frames == 0:
            segment.checkpoint()

    def copy(self, packet: object) -> None:
        """Do nothing: packets of other streams are read when the segments are joined."""

    def cut_short(self) -> None:
        """Take note that the clip ended too early: the frames from here on are restored again when the job goes on."""
        if self._segment is not None:
            self._segment.checkpoint()
        self._is_cut_short = True

    def close(self, *, complete: bool = True) -> None:
        """Finish the last segment; if not `complete`, record its frames for the job to go on with, and for a join."""
        if self._segment is None:
            return
        if complete:
            self._finish_segment()
            return
        if not self._is_cut_short:
            self._segment.checkpoint()
        self._folder.write_partial(self._segment.close())
        self._segment.leave()
        self._segment = None

    def discard(self) -> None:
        """End the segment that is not finished."""
        if self._segment is not None:
            self._segment.leave()
            self._segment = None

    def _open_segment(self) -> Segment:
        index = self.num_frames // self._segment_frames
        self._segment = self._make_segment(index, index * self._segment_frames)
        return self._segment

    def _finish_segment(self) -> None:
        assert self._segment is not None
        record = self._segment.close()
        self._folder.add(record)
        self._segment.clear()
        self._segment = None
        self._on_segment(record)


def store_packets(
    folder: JobFolder, index: int, first_frame: int, packets: Sequence[EncodedPacket], extradata: str
) -> Record:
    """Write a segment that is encoded; return its record.

    Args:
        folder: Job.
        index: Number of the segment.
        first_frame: Number of its first output frame.
        packets: Its packets, in the order of decoding.
        extradata: Digest of the codec's headers.
    """
    name = f"{index:06d}.packets"
    file = DurableFile(folder.segments / name, folder.disk)
    try:
        for packet in packets:
            file.write(packet.data)
        file.publish()
    except BaseException:
        file.discard()
        raise
    facts = [(packet.pts, packet.dts, len(packet.data), packet.is_keyframe) for packet in packets]
    return Record(index, first_frame, len(packets), {name: file.sha256}, facts, extradata)


def record_of_spill(folder: JobFolder, index: int, first_frame: int, plan: MuxPlan) -> Record | None:
    """Encode the frames that a killed job has left of a segment; None if there are none. The job can still go on."""
    earlier = read_record(folder.segments, index, plan)
    if earlier is None:
        return None
    segment = VideoSegment(folder, index, first_frame, plan, earlier)
    record = segment.close()
    segment.leave()
    return record
