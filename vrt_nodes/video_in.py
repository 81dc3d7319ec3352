"""What a VIDEO holds: frames as R'G'B' with their times, streamed from its file where it has one, and its sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import torch
from av.error import FFmpegError, InvalidDataError
from comfy_api.latest import InputImpl
from torch import Tensor

from ._bridge import colour, core, planes, timeline
from .audio import EncodedTrack, Waveform, add_track

DEFAULT_RATE = Fraction(25)
HDR_TRANSFERS = (16, 18)
"""PQ and HLG, as ITU-T H.273 numbers them."""

Note = Callable[[str], object]
Stamped = tuple[Tensor, "int | None"]
"""A frame, (3, H, W) nominally in [0, 1], and its time in units of the clip's time base."""


class FileClip:
    """A file, or the part of it that a trim leaves; decoded as it is asked for.

    Attributes:
        height: Of the frames, after rotation.
        width: Likewise.
        rate: Frames per second, on average.
        time_base: Seconds per unit of the stamps.
        aspect: Width of a pixel over its height.
        num_frames: Frames to come, about; None if the file does not tell.
    """

    def __init__(self, source: Any, start_seconds: float, duration_seconds: float, note: Note) -> None:
        """Open it, and decode the first frame.

        Args:
            source: Path, or bytes in memory.
            start_seconds: Where the trim begins.
            duration_seconds: What it leaves; 0 for all.
            note: Told what the user may want to know.

        Raises:
            InputError: If there is no frame.
        """
        self._note, self._broken = note, 0
        self._start = Fraction(start_seconds).limit_denominator(10**6)
        self._stop = self._start + Fraction(duration_seconds).limit_denominator(10**6) if duration_seconds else None
        self._tracks: dict[int, Any] = {}
        self._early: list[Any] | None = []  # sound met while the first frame is looked for
        try:
            self._container: Any = av.open(source)
        except (FFmpegError, OSError) as error:
            raise core.InputError(f"video cannot be read: {error}") from error
        try:
            self._video = self._find_video()
            self._sounds = list(self._container.streams.audio)
            known = [stream for stream in self._sounds if stream.codec_context is not None]
            self._unit = timeline.as_fraction(self._video.time_base, Fraction(1))
            if self._start:
                self._container.seek(int(self._start / self._unit), stream=self._video)
            self._packets = self._container.demux(self._video, *known)
            self._frames: Iterator[Any] = self._decode()
            first = next(self._frames, None)
            if first is None:
                trim = f" from {start_seconds:g} s on" if self._start else ""
                raise core.InputError(
                    f"video has no frame that can be decoded{trim}; look at the file, and at its trim"
                )
            self._first = first
            self._read_facts(first)
        except BaseException:
            self.close()
            raise

    def add_sound(self, container: Any) -> None:
        """Add the sound tracks to a file that is about to be written; ``frames`` will feed them."""
        for stream in self._sounds:
            track = add_track(container, stream, self._note)
            if track is not None:
                self._tracks[stream.index] = track

    def frames(self) -> Iterator[Stamped]:
        """Return the frames, once; sound goes to its tracks in between."""
        early, self._early = self._early or [], None
        for packet in early:
            self._feed(packet)
        begin = self._first.pts if self._start and self._first.pts is not None else 0
        frame = self._first
        while frame is not None:
            yield self._upright(frame), None if frame.pts is None else frame.pts - begin
            frame = next(self._frames, None)
        self._drain()
        for track in self._tracks.values():
            track.finish()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _find_video(self) -> Any:
        for stream in self._container.streams.video:
            if "attached_pic" not in str(getattr(stream, "disposition", "")):
                stream.thread_type = "AUTO"
                return stream
        raise core.InputError("video has no picture in it, only sound; choose another file")

    def _decode(self) -> Iterator[Any]:
        for packet in self._packets:
            if packet.stream is not self._video:
                self._feed(packet)
                continue
            try:
                frames = packet.decode()
            except InvalidDataError:
                self._broken += 1
                if self._broken == 1:
                    self._note("a damaged part of the video is left out")
                continue
            for frame in frames:
                if frame.pts is not None and frame.pts < int(self._start / self._unit):
                    continue
                if frame.pts is not None and self._stop is not None and frame.pts >= int(self._stop / self._unit):
                    return
                yield frame

    def _feed(self, packet: Any) -> None:
        """Hand a sound packet on, if it lies within the trim."""
        if not packet.size or packet.dts is None:
            return
        at = _seconds(packet)
        if (self._start and at < self._start) or (self._stop is not None and at >= self._stop):
            return
        if self._early is not None:
            self._early.append(packet)
        elif packet.stream.index in self._tracks:
            self._tracks[packet.stream.index].feed(packet, self._start)

    def _drain(self) -> None:
        """Read on, without decoding frames, for sound that belongs to the last of them."""
        for packet in self._packets:
            if packet.dts is None:
                continue
            if (
                self._stop is not None
                and packet.dts * timeline.as_fraction(packet.time_base, Fraction(1)) > self._stop + 1
            ):
                return
            if packet.stream is not self._video:
                self._feed(packet)

    def _upright(self, frame: Any) -> Tensor:
        rgb = torch.rot90(planes.read_rgb(frame, self._colour), _quarter_turns(frame), dims=(1, 2))
        if rgb.shape[1:] != (self.height, self.width):
            raise core.InputError(
                f"video changes its size at {frame.time or 0:.2f} s, from {self.width}x{self.height} to "
                f"{rgb.shape[2]}x{rgb.shape[1]} px; one size is needed: scale or cut it first"
            )
        return rgb

    def _read_facts(self, frame: Any) -> None:
        stream, turned = self._video, _quarter_turns(frame) % 2
        self._colour = colour.colour_of(frame)
        self.height, self.width = (frame.width, frame.height) if turned else (frame.height, frame.width)
        self.rate = timeline.as_fraction(stream.average_rate or stream.guessed_rate, DEFAULT_RATE)
        self.time_base = timeline.as_fraction(frame.time_base, self._unit)
        aspect = timeline.as_fraction(stream.sample_aspect_ratio, Fraction(1))
        self.aspect = 1 / aspect if turned else aspect
        self.num_frames = self._count_frames()
        transfer = int(getattr(stream.codec_context, "color_trc", 0) or 0)
        if transfer in HDR_TRANSFERS:
            self._note("the video is HDR: it is worked on as it is and tagged BT.709, so convert it to SDR first")
        if frame.interlaced_frame:
            self._note("the video is interlaced; deinterlace it first, the models know whole frames only")
        if any(component.is_alpha for component in frame.format.components):
            self._note("the video has an alpha channel, which is left out")

    def _count_frames(self) -> int | None:
        stream = self._video
        seconds = None
        if stream.duration is not None:
            seconds = stream.duration * self._unit
        elif self._container.duration is not None:
            seconds = Fraction(self._container.duration, av.time_base)
        if not self._start and self._stop is None and stream.frames:
            return stream.frames
        if seconds is None and self._stop is None:
            return None
        stop = min(limit for limit in (seconds, self._stop) if limit is not None)
        return max(1, round((stop - self._start) * self.rate))


class TensorClip:
    """A video that is in memory as tensors; attributes and methods as those of ``FileClip``."""

    def __init__(self, components: Any, note: Note) -> None:
        """Take what ``get_components`` returns.

        Raises:
            InputError: If there is no frame.
        """
        images = components.images
        if images.dim() != 4 or 0 in images.shape or images.shape[-1] not in (3, 4):
            raise core.InputError(f"video holds frames of shape {tuple(images.shape)}, expected (frames, H, W, 3)")
        if images.shape[-1] == 4:
            note("the video has an alpha channel, which is left out")
        self._images, self._audio, self._waveform, self._track = images, components.audio, None, None
        self.num_frames, self.height, self.width = images.shape[:3]
        self.rate = Fraction(components.frame_rate)
        self.time_base, self.aspect = 1 / self.rate, Fraction(1)

    def add_sound(self, container: Any) -> None:
        """Add the sound to a file that is about to be written; ``frames`` will feed it."""
        if self._audio is not None and self._audio["waveform"].numel():
            self._waveform = Waveform(self._audio)
            self._track = EncodedTrack(container, self._waveform.rate, self._waveform.layout)

    def frames(self) -> Iterator[Stamped]:
        """Return the frames, once; sound goes to its track in between."""
        for n, image in enumerate(self._images):
            self._feed((n + 1) / self.rate)
            yield image[..., :3].movedim(-1, 0).float(), n
        self._feed(None)
        if self._track is not None:
            self._track.finish()

    def close(self) -> None:
        """Nothing is open."""

    def _feed(self, until_seconds: Fraction | None) -> None:
        if self._waveform is not None and self._track is not None:
            self._waveform.feed(self._track, until_seconds)


def open_clip(video: Any, note: Note) -> FileClip | TensorClip:
    """Open a VIDEO.

    Only files are streamed, and only where they hold what the VIDEO stands for: other kinds encode themselves, with
    losses, or cannot, when asked for a stream.

    Raises:
        InputError: If it cannot be read.
    """
    edited = getattr(video, "has_pending_frame_edits", lambda: False)()
    if not isinstance(video, InputImpl.VideoFromFile) or edited:
        return TensorClip(video.get_components(), note)
    start_seconds, duration_seconds = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
    return FileClip(video.get_stream_source(), start_seconds, duration_seconds, note)


def _quarter_turns(frame: Any) -> int:
    """Return quarter turns against the clock that bring the frame upright."""
    return round(frame.rotation / 90) % 4


def _seconds(packet: Any) -> Fraction:
    """Return when a packet is decoded."""
    return packet.dts * timeline.as_fraction(packet.time_base, Fraction(1))
