"""Decoder of a video stream that goes on after errors, and accounts for every frame that it cannot decode."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.stream import VideoStream

from .damage import Damage
from .timeline import as_fraction

DECODER_OPTIONS = {"libdav1d": {"max_frame_delay": "1"}}
"""Options by decoder; dav1d has frame threads of its own."""
HIDDEN_FRAME_DECODERS = ("vp8", "libvpx", "vp9", "libvpx-vp9")
"""Decoders whose streams have packets that show no frame."""
ORDERED_FORMATS = ("matroska", "mov", "mpegts", "mpeg", "flv", "mxf", "asf", "ogg", "nut")
"""Formats whose time stamps are those of presentation; AVI has those of decoding."""
MAX_REORDERED_FRAMES = 32
MAX_EMPTY_VOP_BYTES = 19
"""Size of packets that stand for a frame of the packet before, in MPEG-4 Part 2."""
P_VOP_HEADER_BITS, VOP_START = 19, b"\0\0\1\xb6"
"""Length of the shortest header of a predicted frame there, and the start code before it."""


class FrameDecoder:
    """Decodes the packets of one video stream in order.

    A frame whose packet gave none is replaced by the frame before it, at its own time, so that sound stays in place.
    """

    def __init__(self, stream: VideoStream, damage: Damage) -> None:
        """Configure the decoder of the stream, which must not be open.

        Args:
            stream: Stream.
            damage: Gets the account.
        """
        self.damage = damage
        self._context, self._name = stream.codec_context, stream.codec_context.name
        stream.thread_type = "SLICE"  # frame threads report errors at later packets, and lose frames after the last
        # HEVC and H.264: give frames whose references are lost, flagged, instead of none until the next keyframe.
        self._context.flags |= Flags.output_corrupt
        self._context.options = dict(DECODER_OPTIONS.get(self._name, {}))
        self._unit = as_fraction(stream.time_base, Fraction(1))
        self._pending: set[int] = set()  # time stamps of packets whose frames did not come yet
        self._num_expected = self._num_given = 0  # frames
        self._is_interlaced = False
        self._num_errors = 0  # packets that failed, whose frames are not accounted for yet
        self._is_one_to_one = self._name not in HIDDEN_FRAME_DECODERS
        self._starts_at_keyframe: bool | None = None
        self._first_pts: int | None = None  # of the first packet
        formats = stream.container.format.name.split(",")
        self._has_order = any(name in formats for name in ORDERED_FORMATS)
        self._last: av.VideoFrame | None = None
        self._replaced: deque[int] = deque(maxlen=MAX_REORDERED_FRAMES)

    def decode(self, packet: av.Packet) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Decode a packet; an empty one gives the frames that are left.

        Yields:
            Frames with their time stamps, in units of the stream.

        Raises:
            MediaError: If the packet is damaged, and damage is not tolerated.
        """
        if packet.size:
            self._expect(packet)
        elif packet.pts is not None:  # it repeats a frame (Theora), which is shown for longer then
            return
        for frame in self._frames(packet):
            if frame.is_corrupt and self._last is None and self._precedes_keyframe(frame):
                self._pending.discard(frame.pts or 0)
                self.damage.add("missing", self._seconds(frame.pts))  # leading frames that refer to lost ones
                continue
            if frame.pts is not None:
                if frame.pts in self._replaced:  # it comes too late, after frames that follow it
                    continue
                yield from self._replace([pts for pts in self._pending if pts < cast(int, frame.pts)], frame)
                self._pending.discard(frame.pts)
            if frame.is_corrupt:
                self.damage.add("concealed", self._seconds(frame.pts))
            self._last, self._num_given = frame, self._num_given + 1
            self._is_interlaced = self._is_interlaced or frame.interlaced_frame
            yield frame, frame.pts
        if not packet.size:
            yield from self._replace(list(self._pending), None)
            self._settle()

    def _precedes_keyframe(self, frame: av.VideoFrame) -> bool:
        """Return whether a frame refers to frames before the start of the file, as those do that lead a keyframe."""
        is_leading = None not in (frame.pts, self._first_pts) and cast(int, frame.pts) < cast(int, self._first_pts)
        return not self._starts_at_keyframe or is_leading

    def _settle(self) -> None:
        """Account for packets without a frame, at the end of a stream."""
        if not self._has_order and self._is_one_to_one and not self._is_interlaced:
            self._num_errors = max(self._num_errors, self._num_expected - self._num_given)
        if self._num_errors:
            self.damage.add("missing", None, self._num_errors)
            self._num_errors = 0

    def _expect(self, packet: av.Packet) -> None:
        if self._starts_at_keyframe is None:
            self._starts_at_keyframe, self._first_pts = packet.is_keyframe, packet.pts
        if not packet.is_discard and not self._is_empty_vop(packet):
            self._num_expected += 1
            if packet.pts is not None:
                self._pending.add(packet.pts)

    def _is_empty_vop(self, packet: av.Packet) -> bool:
        """Return whether a packet of MPEG-4 Part 2 is too short for its header and one bit for each macroblock."""
        if self._name != "mpeg4" or packet.size > MAX_EMPTY_VOP_BYTES:
            return False
        data = bytes(packet)
        num_macroblocks = -(-self._context.height // 16) * -(-self._context.width // 16)
        is_predicted = data[: len(VOP_START)] == VOP_START and len(data) > len(VOP_START) and data[4] >> 6 == 1
        return is_predicted and 8 * (len(data) - len(VOP_START)) < P_VOP_HEADER_BITS + num_macroblocks

    def _frames(self, packet: av.Packet) -> list[av.VideoFrame]:
        """Return the frames of a packet; count it if it fails."""
        for _ in range(2):
            try:
                return cast(list[av.VideoFrame], packet.decode())
            except EOFError:
                return []
            except BlockingIOError:  # an error left a packet in the decoder, which blocks it
                self._context.flush_buffers()
            except (FFmpegError, MemoryError, ValueError):  # damage looks like any error: sizes out of memory, too
                break
        self._num_errors += 1
        return []

    def _replace(self, lost: list[int], frame: av.VideoFrame | None) -> Iterator[tuple[av.VideoFrame, int]]:
        """Yield a substitute for each lost frame before `frame`."""
        is_interlaced = self._is_interlaced or bool(frame and frame.interlaced_frame)
        # two packets may hold the fields of one frame
        is_certain = self._is_one_to_one and self._has_order and not is_interlaced
        for pts in sorted(lost):
            self._pending.discard(pts)
            if not is_certain and not self._num_errors:
                continue
            self._replaced.append(pts)
            self._num_errors = max(0, self._num_errors - 1)
            if self._last is None:
                self.damage.add("missing", self._seconds(pts))
            else:
                self.damage.add("repeated", self._seconds(pts))
                self._num_given += 1
                yield self._last, pts

    def _seconds(self, pts: int | None) -> Fraction | None:
        return None if pts is None else pts * self._unit
