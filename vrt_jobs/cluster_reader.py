"""Reader of the parts of a clip, in the order in which a worker gets them.

A worker restores one segment after another, each of later frames. The reader goes on where it is, so that a worker
decodes a clip once. Frames are never reached by seeking: where files are damaged or time stamps do not rise, the number
and the stamp of a frame depend on all frames before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import av

from vrt_media.clip import FrameReader, TimedFrame, ignore
from vrt_media.reader import VideoReader

from .one_pass import damage_of


class _Decoded(NamedTuple):
    number: int
    frame: av.VideoFrame
    stamp: int | None


class PartReader:
    """Reads parts of a clip; a `FrameReader` whose `frames` may be called once for each part.

    Attributes:
        info: Properties of the clip.
        num_frames: Frames of the clip that were counted so far; all once `is_at_end`.
        is_at_end: Whether the end of the clip was reached.
    """

    def __init__(self, open_reader: Callable[[], FrameReader]) -> None:
        """Open the clip.

        Args:
            open_reader: Opens it; called again if a part begins before the frames that are still there.
        """
        self._open_reader = open_reader
        self._open()

    def _open(self) -> None:
        self._reader = self._open_reader()
        self.info = self._reader.info
        self.num_frames, self.is_at_end = 0, False
        self._stamps: list[int | None] = []
        self._held: deque[_Decoded] = deque()
        reader = self._reader
        self._decoded = reader.decoded_frames(ignore) if isinstance(reader, VideoReader) else None

    def begin_part(self, first_frame: int, next_first_frame: int) -> None:
        """Prepare to read a part.

        Args:
            first_frame: Number of its first frame.
            next_first_frame: Number of the first frame of the part after it; frames from there on that are read for
                this part are held for that one.
        """
        first_there = self._held[0].number if self._held else len(self._stamps)
        if self._decoded is not None and first_frame < first_there:
            self._reader.close()
            self._open()
        self._hold_from = next_first_frame

    def frames(
        self, on_packet: Callable[[Any], object], *, skip: int = 0, on_skipped: Callable[[int | None], object] = ignore
    ) -> Iterator[TimedFrame]:
        """Iterate over the frames of the part, to the end of the clip; packets of other streams are dropped.

        Args:
            on_packet: Not called.
            skip: First frame of the part, as in `begin_part`.
            on_skipped: Called with the time stamp of each frame before it.
        """
        reader = self._reader
        if not isinstance(reader, VideoReader) or self._decoded is None:
            yield from reader.frames(on_packet, skip=skip, on_skipped=on_skipped)
            self.num_frames, self.is_at_end = reader.info.num_frames or 0, True
            return
        for stamp in self._stamps[:skip]:
            on_skipped(stamp)
        held = [item for item in self._held if item.number >= skip]
        self._held = deque(item for item in held if item.number >= self._hold_from)
        for item in held:
            yield TimedFrame(reader.convert(item.frame), item.stamp)
        for frame, stamp in self._decoded:  # goes on here with the next part
            number, self.num_frames = self.num_frames, self.num_frames + 1
            self._stamps.append(stamp)
            if number >= self._hold_from:
                self._held.append(_Decoded(number, frame, stamp))
            if number < skip:
                on_skipped(stamp)
            else:
                yield TimedFrame(reader.convert(frame), stamp)
        self.is_at_end = True

    @property
    def stop_seconds(self) -> str | None:
        """`VideoReader.stop_seconds`, as a fraction; known at the end."""
        seconds = self._reader.stop_seconds if isinstance(self._reader, VideoReader) else None
        return None if seconds is None else str(seconds)

    @property
    def damage(self) -> tuple[str, ...]:
        """One line for each kind of damaged frames, of those that were read."""
        return damage_of(self._reader)

    def stop(self) -> None:
        """Do nothing: files do not keep anybody waiting."""

    def close(self) -> None:
        """Close the clip."""
        self._held.clear()
        self._reader.close()
