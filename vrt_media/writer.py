"""Writer of video files and y4m pipes: encodes frames, copies other streams, and leaves a playable file behind."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.error import FFmpegError
from torch import Tensor

from .audio import EncodedTrack
from .muxer import EncodedPacket, Muxer
from .output_plan import OutputPlan
from .part_file import PartFile
from .planes import write_rgb
from .timeline import as_fraction

_log = logging.getLogger(__name__)


class VideoWriter:
    """Writes a video file, or y4m to standard output; a `FrameWriter`.

    The file has `.part` in its name until `close` (see `PartFile`), and can be played at any time. As a context
    manager, it closes the file, or deletes it after an exception.

    Attributes:
        num_frames: Frames written so far.
        codec: Encoder.
        pix_fmt: Pixel format that is encoded.
    """

    def __init__(
        self,
        plan: OutputPlan,
        *,
        overwrite: bool = False,
        folder: Path | None = None,
        on_note: Callable[[str], object] = _log.warning,
    ) -> None:
        """Create the part.

        Args:
            plan: Output.
            overwrite: Whether `close` replaces a file of that name.
            folder: Where the part lies until then; beside the file if None.
            on_note: Called by `close` with what the user should know.

        Raises:
            MediaError: If the container cannot be written.
            OSError: If the file cannot be created.
        """
        self.num_frames = 0
        self.path, self._overwrite, self._on_note = plan.path, overwrite, on_note
        mux = plan.mux
        self._is_y4m, self.codec, self.pix_fmt, self._colour = mux.is_y4m, mux.codec, mux.pix_fmt, mux.colour
        self._rate, self._time_base, self._end_seconds = mux.rate, mux.time_base, Fraction(0)
        self._waiting: deque[av.Packet] = deque()  # of other streams, until the frames of their time are written
        self._refused: Counter[str] = Counter()
        self._audio: list[EncodedTrack] = []
        self._is_finished = False
        self._file = None if plan.is_piped else PartFile(self.path, folder)
        try:
            self._muxer = Muxer("pipe:1" if self._file is None else self._file, mux)
        except BaseException:
            if self._file is not None:
                self._file.discard()
            raise

    @property
    def result(self) -> Path | None:
        """Where the frames are: the part, or the file once `close` gave it its name; None for a pipe."""
        return self._file.path if self._file is not None and self._file.path.exists() else None

    @property
    def extradata(self) -> bytes:
        """Headers of the video codec, once the first frame is written."""
        return self._muxer.extradata

    def add_audio(self, rate: int, layout: str) -> EncodedTrack:
        """Add an AAC track for audio that is not in a file; call it before the first frame is written."""
        self._audio.append(EncodedTrack(self._muxer.container, rate, layout))
        return self._audio[-1]

    def write(self, rgb: Tensor, pts: int) -> None:
        """Encode one frame, (3, H, W); `pts` is in units of the shape's time base."""
        frame = write_rgb(rgb, self.pix_fmt, self._colour)
        frame.pts, frame.time_base = (self.num_frames if self._is_y4m else pts), self._time_base
        self._muxer.encode(frame)
        self.num_frames += 1
        self._end_seconds = (frame.pts + 1 / (self._rate * self._time_base)) * self._time_base
        self._write_waiting(self._end_seconds)

    def write_encoded(self, packet: EncodedPacket) -> None:
        """Write one frame that was encoded before, with the settings of the plan; in the order of decoding."""
        self._muxer.write(packet)
        self.num_frames += 1
        self._write_waiting(max(packet.pts, 0) * self._time_base)

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of one of the `streams`, once the frames of its time are written."""
        if packet.stream.index in self._muxer.tracks and packet.size:
            self._waiting.append(packet)

    def cut_short(self) -> None:
        """Do nothing: what was written is the result."""

    def close(self, *, complete: bool = True) -> None:
        """Encode what waits, finish the container, and give the file its name.

        An incomplete file replaces no other: it gets its name only if that is free, else it remains in the part.

        Args:
            complete: Whether all frames were written; if not, other streams end with the last frame.

        Raises:
            MediaError: If there is a file of that name now, and it may not be replaced; the part remains.
            OSError: If something cannot be written, or `av.FFmpegError`; the part remains.
        """
        self.finish(complete=complete)
        if self._file is not None and (complete or not self.path.exists()):
            self._file.publish(overwrite=self._overwrite and complete)

    def discard(self) -> None:
        """Close and delete the file."""
        try:
            self._muxer.container.close()
        except (FFmpegError, OSError, ValueError, RuntimeError) as error:
            _log.debug("closing an unfinished file: %s", error)
        if self._file is not None:
            self._file.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def finish(self, *, complete: bool = True) -> None:
        """Write everything that waits, and complete the container; `close` then gives the file its name."""
        if self._is_finished:
            return
        self._is_finished = True
        try:
            self._write_waiting(None if complete else self._end_seconds)
        finally:
            try:
                self._muxer.finish(self._audio)
            finally:
                if self._file is not None:
                    self._file.complete()
        for index, track in self._muxer.tracks.items():
            if isinstance(track, EncodedTrack) and track.num_damaged:
                self._refused[f"audio stream {index}"] += track.num_damaged
        for name, number in self._refused.items():
            self._on_note(f"{name}: {number} damaged packet{'' if number == 1 else 's'} left out")

    def _write_waiting(self, end_seconds: Fraction | None) -> None:
        """Write the packets that begin before that time; all if None."""
        later: deque[av.Packet] = deque()
        for packet in self._waiting:
            pts = packet.dts if packet.dts is not None else packet.pts
            unit = as_fraction(packet.time_base, Fraction(1))
            if end_seconds is not None and pts is not None and pts * unit >= end_seconds:
                later.append(packet)
            else:
                self._feed(packet)
        self._waiting = later

    def _feed(self, packet: av.Packet) -> None:
        """Write a packet; one that the container refuses is left out, since a damaged packet must not end the job."""
        stream = packet.stream
        try:
            self._muxer.tracks[stream.index].feed(packet)
        except FFmpegError as error:
            if self._file is None or self._file.error is not None:
                raise
            self._refused[f"{stream.type} stream {stream.index}"] += 1
            _log.debug("%s", error)
