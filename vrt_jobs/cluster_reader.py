"""Reader of the parts of a clip, in the order in which a worker gets them.

A worker restores one segment after another, each of later frames. The reader goes on where it is, so that a worker
decodes a clip once. Frames are never reached by seeking: where files are damaged or time stamps do not rise, the number
and the stamp of a frame depend on all frames before it. Frames for the next segment are held as RGB, not as decoded:
some decoders leave in a damaged frame what its buffer held before, so buffers must be free as early as in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from vrt_media.clip import FrameReader, TimedFrame, ignore
from vrt_media.reader import VideoReader

from .one_pass import damage_of


class PartReader:
    """Reads parts of a clip; a `FrameReader` whose `frames` may be called once for each part.

    Attributes:
        info: Properties of the clip.
        num_frames: Frames of the clip that were counted so far; all once `is_at_end`.
        is_at_end: Whether the end of the clip was reached.
    """

    def __init__(self, open_reader: Callable[[], FrameReader], device: torch.device | str = "cpu") -> None:
        """Open the clip.

        Args:
            open_reader: Opens it; called again if a part begins before the frames that are still there.
            device: Device on which it returns frames.
        """
        self._open_reader, self._device = open_reader, device
        self._open()

    def _open(self) -> None:
        self._reader = self._open_reader()
        self.info = self._reader.info
        self.num_frames, self.is_at_end = 0, False
        self._stamps: list[int | None] = []
        self._held: list[tuple[int, TimedFrame]] = []
        reader = self._reader
        self._decoded = reader.decoded_frames(ignore) if isinstance(reader, VideoReader) else None

    def begin_part(self, first_frame: int, next_first_frame: int) -> None:
        """Prepare to read a part.

        Args:
            first_frame: Number of its first frame.
            next_first_frame: Number of the first frame of the part after it; frames from there on that are read for
                this part are held for that one.
        """
        first_there = self._held[0][0] if self._held else self.num_frames
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
        held = [item for item in self._held if item[0] >= skip]
        self._held = [item for item in held if item[0] >= self._hold_from]
        for _, timed in held:
            yield TimedFrame(timed.rgb.to(self._device), timed.pts)
        for frame, stamp in self._decoded:  # goes on here with the next part
            number, self.num_frames = self.num_frames, self.num_frames + 1
            self._stamps.append(stamp)
            if number < skip:
                on_skipped(stamp)
                continue
            timed = TimedFrame(reader.convert(frame), stamp)
            if number >= self._hold_from:
                self._held.append((number, TimedFrame(timed.rgb.cpu(), stamp)))
            yield timed
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
