"""Reader of video files and pipes: frames as R'G'B', other streams as packets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import torch
from av.format import Flags as FormatFlags

from .attachments import read_attachments
from .clip import ClipInfo, MediaError, TimedFrame, ignore
from .colour import HLG, MATRIX_NAMES, PQ, colour_of
from .container import MediaFile, average_rate, count_frames, duration_seconds, main_video, name_of, open_input
from .crop import Crop, whole_frame
from .cut import PacketCut
from .damage import Damage
from .decoder import FrameDecoder
from .deinterlacing import Fields, deinterlace
from .extent import Extent
from .gaps import GapWatch
from .holes import HoleWatch
from .joins import connect
from .mastering import mastering_of
from .orientation import orientation_of, upright, upright_size
from .pipe import StandardInput
from .planes import read_rgb
from .side_data import describe_lost_side_data
from .timeline import as_fraction
from .trim import Trim

_log = logging.getLogger(__name__)

COPIED_KINDS = ("audio", "subtitle")
CONTAINER_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder")
HDR_TRANSFERS = (PQ, HLG)


class VideoReader:
    """Reads the first video stream of a file or of standard input; a `FrameReader`.

    Frames are rotated and mirrored as the file asks for, so the output needs no such tag. They are decoded on demand.

    Attributes:
        info: Size, colour, rate and length of the clip.
        name: Name of the file, for messages.
        copied_streams: Streams whose packets `frames` hands over: audio and subtitles.
        attachments: Fonts and cover pictures.
        other_streams: Further video, data.
        metadata: Title and the like.
        is_hdr: Whether the video is tagged as PQ or HLG.
        damage: Frames that could not be decoded as they were encoded; complete once all frames are read.
        stop_seconds: Time in the file at which the part ends that was read, None at the end of the file; known then.
    """

    def __init__(
        self,
        source: MediaFile,
        trim: Trim | None = None,
        *,
        device: torch.device | str = "cpu",
        on_note: Callable[[str], object] = _log.warning,
        strict: bool = False,
        options: Mapping[str, str] | None = None,
        crop: Crop | None = None,
        fields: Fields | None = None,
    ) -> None:
        """Open the file and decode the first frame.

        Args:
            source: File; standard input may be y4m, or any format that can be read without seeking.
            trim: Part of the clip to read.
            device: Device on which frames are converted and returned.
            on_note: Called with each thing that the user should know, but that does not stop the reader.
            strict: Whether damage ends the reading.
            options: Options of libav for opening the file.
            crop: Part of each upright frame to read; all of it if None.
            fields: Frames to deinterlace; if None, there are none, and `on_note` is told of flags that ask for it.

        Raises:
            MediaError: If libav cannot open the file, or if there is no video stream, or no frame in the trim, or if
                the crop does not lie in the frame.
        """
        self.name, self.stop_seconds = name_of(source), None
        self._trim, self._device, self._on_note = trim or Trim(), device, on_note
        self._container = open_input(source, options)
        try:
            self._video = main_video(self._container, self.name)
            self._file_zero = Fraction(max(0, self._container.start_time or 0), av.time_base)
            self._strict, self.damage = strict, Damage(self.name, zero=self._file_zero)
            self._decoder = FrameDecoder(self._video, self.damage)
            if not self._is_part_from_later:
                self._start_account()
            self._unit = as_fraction(self._video.time_base, Fraction(1))
            self.copied_streams = [s for s in self._container.streams if s.type in COPIED_KINDS]
            self.attachments = read_attachments(self._container)
            copied = {s.index for s in (self._video, *self.copied_streams)} | {a.index for a in self.attachments}
            self.other_streams = [s for s in self._container.streams if s.index not in copied]
            self.metadata = {k: v for k, v in self._container.metadata.items() if k not in CONTAINER_METADATA}
            self.is_hdr = int(getattr(self._video.codec_context, "color_trc", 0) or 0) in HDR_TRANSFERS
            if self._trim.start_seconds:
                self._container.seek(int(self._trim.start_seconds / self._unit), stream=self._video)
            is_whole = not self._trim.start_seconds
            self._extent = Extent(self._container, self._video, self.copied_streams, is_whole=is_whole)
            self._holes = HoleWatch()
            self._packets = self._extent.watch(self._demux())
            self._early: list[av.Packet] = []  # packets read before `frames` is called
            self._on_packet: Callable[[av.Packet], object] = self._early.append
            self._fields: Fields | None = fields
            self._decoded = self._decode()
            self._first, self._first_pts = self._find_first()
            if self._trim.start_seconds:
                self._start_account()
            self.info = self._read_info(self._first, crop)
            self._warn(self._first)
        except BaseException:
            self._container.close()
            raise

    @property
    def chapters(self) -> list[Any]:
        """Chapters of the file, as libav has them; none if only a part of the clip is read."""
        if self._is_part_from_later or self._trim.max_frames is not None or self._trim.stop_seconds is not None:
            return []
        chapters = self._container.chapters()
        for chapter in chapters:
            offset = round(self.zero_seconds / as_fraction(chapter["time_base"], Fraction(1)))
            chapter["start"], chapter["end"] = max(0, chapter["start"] - offset), max(0, chapter["end"] - offset)
        return chapters

    def frames(
        self,
        on_packet: Callable[[av.Packet], object],
        *,
        skip: int = 0,
        on_skipped: Callable[[int | None], object] = ignore,
    ) -> Iterator[TimedFrame]:
        """Iterate over the frames, once.

        A trim drops the packets that lie outside it. Time stamps count from the first frame of a trim that begins
        later, else from the earliest of all streams, if that is not negative.

        Args:
            on_packet: Called with each packet of `copied_streams`, in the order of the file.
            skip: Frames to leave out at the beginning: they are decoded, but not converted.
            on_skipped: Called with the time stamp of each of these.

        Raises:
            MediaError: If a frame has another size than the first, or if there is damage and it is not tolerated.
        """
        for number, (frame, stamp) in enumerate(self.decoded_frames(on_packet)):
            if number < skip:
                on_skipped(stamp)
            else:
                yield TimedFrame(self.convert(frame), stamp)

    def decoded_frames(self, on_packet: Callable[[av.Packet], object]) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Iterate over the frames as `frames` does, each with its time stamp, for `convert`."""
        cut, gaps = self._cut(on_packet), GapWatch()
        for packet in self._early:
            cut.push(packet)
        self._early.clear()
        self._on_packet = cut.push
        zero = round(self.zero_seconds / self._unit)
        max_frames, duration = self._trim.max_frames, self.info.frame_duration
        num_frames, last, item = 0, None, (self._first, self._first_pts)
        while item is not None:
            frame, pts = item
            if pts is not None:
                gaps.push(pts)
                duration = pts - last if last is not None and pts > last else duration
                last = pts
                if max_frames is not None:
                    cut.advance(pts * self._unit)
            yield frame, None if pts is None else pts - zero
            num_frames += 1
            item = None if num_frames == max_frames else next(self._decoded, None)
        gaps.report(self.damage, self._unit, has_holes=self._holes.num_bytes > 0)
        stop = self._trim.stop_seconds
        if num_frames == max_frames and last is not None:  # the part ends with its last frame
            stop = (last + duration) * self._unit
        self.stop_seconds = stop
        cut.finish(stop)
        if stop is not None:
            for packet in self._packets_until(stop):
                self._on_packet(packet)

    def packets(self, stop_seconds: Fraction | None) -> Iterator[av.Packet]:
        """Iterate over the packets that `frames` would hand over, instead of it, without decoding more frames.

        Args:
            stop_seconds: Value of the attribute after `frames`.
        """
        ready: list[av.Packet] = []
        cut = self._cut(ready.append, stop_seconds)
        for packet in chain(self._early, self._packets_until(stop_seconds)):
            cut.push(packet)
            yield from ready
            ready.clear()

    def stop(self) -> None:
        """End `frames` soon, if it waits for data from standard input; any thread may call this."""
        if isinstance(file := getattr(self._container.file, "file", None), StandardInput):
            file.stop()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    @property
    def _is_part_from_later(self) -> bool:
        return bool(self._trim.start_frame or self._trim.start_seconds)

    @property
    def zero_seconds(self) -> Fraction:
        """Time in the file that becomes 0."""
        if self._is_part_from_later:
            return (self._first_pts or 0) * self._unit
        return self._file_zero

    def _cut(self, on_packet: Callable[[av.Packet], object], stop: Fraction | None = None) -> PacketCut:
        trim, zero = self._trim, self.zero_seconds
        if trim.start_seconds:  # times of packets count from the trim, those of frames from the first of them
            zero = trim.start_seconds
        start = zero if self._is_part_from_later else None
        waits = trim.max_frames is not None and stop is None
        stop = trim.stop_seconds if stop is None else stop
        return PacketCut(on_packet, zero=zero, start=start, stop=stop, waits=waits)

    def _demux(self) -> Iterator[av.Packet]:
        """Iterate over the packets of the streams that are read."""
        if "matroska" in self._container.format.name:
            read = {stream.index for stream in (self._video, *self.copied_streams)}
            return (p for p in self._holes.watch(self._container.demux()) if p.stream.index in read)
        packets = self._container.demux(self._video, *self.copied_streams)
        has_joins = FormatFlags.ts_discont in FormatFlags(self._container.format.flags)
        return connect(packets, self._video.index) if has_joins else packets

    def _decode(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Iterate over the frames between the times of the trim, deinterlaced beforehand, with all their neighbours."""
        start, stop = (
            None if seconds is None else int(seconds / self._unit)
            for seconds in (self._trim.start_seconds, self._trim.stop_seconds)
        )
        for frame, pts in deinterlace(self._decode_all(), self._fields or "none"):
            if pts is not None and start is not None and pts < start:
                continue
            if pts is not None and stop is not None and pts >= stop:
                return
            yield frame, pts

    def _decode_all(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Decode all frames; pass packets of other streams on."""
        num_frames = 0
        for packet in self._packets:
            if packet.stream is not self._video:
                if packet.size:
                    self._on_packet(packet)
                continue
            for item in self._decoder.decode(packet):
                yield item
                num_frames += 1
                if num_frames == self._trim.start_frame:
                    self._start_account()
        self._extent.check(self.damage)

    def _start_account(self) -> None:
        """Account for damage from here on: that of frames before the trim is none."""
        self.damage = Damage(self.name, zero=self._file_zero, strict=self._strict, on_note=self._on_note)
        self._decoder.damage = self.damage

    def _find_first(self) -> tuple[av.VideoFrame, int | None]:
        trim = self._trim
        for number, item in enumerate(self._decoded):
            if number == trim.start_frame:
                return item
        which = f"frame {trim.start_frame} that can be decoded"
        if trim.start_seconds:
            which = f"frame that can be decoded from {float(trim.start_seconds):g} s on; look at the trim"
        raise MediaError(f"{self.name}: its video stream has no {which}")

    def _packets_until(self, stop_seconds: Fraction | None) -> Iterator[av.Packet]:
        """Read on for packets of other streams, without decoding; in the file they may follow frames of later times."""
        for packet in self._packets:
            seconds = None if packet.dts is None else packet.dts * as_fraction(packet.time_base, Fraction(1))
            if stop_seconds is not None and seconds is not None and seconds > stop_seconds + 1:
                return
            if packet.size and packet.stream is not self._video:
                yield packet

    def convert(self, frame: av.VideoFrame) -> torch.Tensor:
        """Return a decoded frame as (3, H, W), upright and cropped."""
        rgb = read_rgb(frame, self.info.colour, device=self._device)  # (3, h, w)
        rgb = upright(rgb, frame)  # (3, H, W)
        height, width = self._frame_size
        if rgb.shape[1:] != (height, width):
            raise MediaError(
                f"{self.name}: the frame at {frame.time or 0:.3f} s has {rgb.shape[2]}x{rgb.shape[1]} pixels, "
                f"those before it {width}x{height}; one size per clip is needed: scale it first"
            )
        return self._crop.cut(rgb)

    def _read_info(self, frame: av.VideoFrame, crop: Crop | None) -> ClipInfo:
        stream, is_turned = self._video, orientation_of(frame)[0] % 2 == 1
        self._frame_size = height, width = upright_size(frame)
        self._crop = crop.within(height, width, self.name) if crop else whole_frame(height, width)
        rate = average_rate(stream)
        aspect = as_fraction(stream.sample_aspect_ratio, Fraction(1))
        return ClipInfo(
            height=self._crop.height,
            width=self._crop.width,
            colour=colour_of(frame),
            pix_fmt=frame.format.name,
            rate=rate,
            time_base=as_fraction(frame.time_base or stream.time_base, 1 / rate),
            num_frames=self._count_frames(rate),
            sample_aspect=1 / aspect if is_turned else aspect,
            mastering=mastering_of(frame),
            lost_side_data=describe_lost_side_data(frame),
        )

    def _count_frames(self, rate: Fraction) -> int | None:
        trim = self._trim
        if trim.start_seconds or trim.stop_seconds is not None:
            ends = [end for end in (duration_seconds(self._video), trim.stop_seconds) if end is not None]
            return max(1, round((min(ends) - (trim.start_seconds or 0)) * rate)) if ends else None
        total = count_frames(self._video, rate)
        if total is not None:
            total = max(1, total - trim.start_frame)
        if trim.max_frames is not None:
            total = trim.max_frames if total is None else min(total, trim.max_frames)
        return total

    def _warn(self, frame: av.VideoFrame) -> None:
        """Tell the user what is not read as it is."""
        colour = self.info.colour
        if not colour.exact:
            matrix = MATRIX_NAMES.get(colour.matrix, colour.matrix)
            self._note(f": matrix {matrix} is read as a plain Y'CbCr one")
        if frame.interlaced_frame and self._fields is None:
            self._note(" states that it is interlaced: deinterlace it if it is, the models know whole frames only")
        if any(c.is_alpha for c in frame.format.components):
            self._note(": the alpha channel is left out")

    def _note(self, text: str) -> None:
        self._on_note(self.name + text)
