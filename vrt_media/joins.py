"""Time stamps of joined transport and program streams: recordings joined by `cat`, cells of a DVD, captures.

At a join the time stamps of every stream jump. The video decides where the new part begins; the other streams keep
their distance to it. The names: a part is what lies between two joins, its offset what its time stamps are moved by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av

from .timeline import as_fraction

MAX_FALL_SECONDS, MAX_RISE_SECONDS = Fraction(1, 10), Fraction(10)
"""Steps between the decoding times of two packets of a stream that are no join, as in FFmpeg."""
MAX_HELD_PACKETS = 1000


@dataclass
class _Track:
    """State of one stream."""

    part: int = 0
    last: Fraction | None = None
    """Decoding time of the last packet, as in the file."""
    end: Fraction | None = None
    """Time at which the last packet ends, moved."""
    drift: Fraction = Fraction(0)
    """What the track is moved by beyond the offset of its part."""
    held: deque[av.Packet] = field(default_factory=deque)
    """Packets behind a jump that the video has not made yet."""


def connect(packets: Iterable[av.Packet], video_index: int) -> Iterator[av.Packet]:
    """Yield packets in order, with time stamps that go on where they jump.

    Args:
        packets: Packets in the order of the file.
        video_index: Index of the video stream.
    """
    connector = _Connector(video_index)
    for packet in packets:
        yield from connector.push(packet)
    yield from connector.release(is_at_end=True)


class _Connector:
    def __init__(self, video_index: int) -> None:
        self._video_index = video_index
        self._tracks: dict[int, _Track] = {}
        self._offsets = [Fraction(0)]

    def push(self, packet: av.Packet) -> Iterator[av.Packet]:
        """Yield the packets whose time stamps are certain now."""
        track = self._tracks.setdefault(packet.stream_index, _Track())
        if packet.stream_index == self._video_index:
            if _jumps(packet, track):
                self._begin_part(packet, track)
                yield self._move(packet, track)
                yield from self.release()
            else:
                yield self._move(packet, track)
            return
        if track.held or (_jumps(packet, track) and track.part == len(self._offsets) - 1):
            track.held.append(packet)
            if len(track.held) > MAX_HELD_PACKETS:
                yield from self.release(is_at_end=True)
            return
        if _jumps(packet, track):
            track.part, track.drift = len(self._offsets) - 1, Fraction(0)
        yield self._move(packet, track)

    def release(self, *, is_at_end: bool = False) -> Iterator[av.Packet]:
        """Yield the packets that waited for the video to jump, or at the end, for which it did not."""
        for track in self._tracks.values():
            while track.held:
                packet = track.held.popleft()
                if _jumps(packet, track):
                    if track.part < len(self._offsets) - 1:
                        track.part, track.drift = len(self._offsets) - 1, Fraction(0)
                    elif not is_at_end:
                        track.held.appendleft(packet)
                        break
                    elif (time := _time(packet)) is not None and track.last is not None and time < track.last:
                        track.drift = (track.end or Fraction(0)) - time - self._offsets[track.part]
                yield self._move(packet, track)

    def _begin_part(self, packet: av.Packet, video: _Track) -> None:
        """Let a part begin where everything before it has ended."""
        ends = [track.end for track in self._tracks.values() if track.end is not None]
        start = packet.dts if packet.pts is None else packet.pts
        self._offsets.append(max(ends) - (start or 0) * as_fraction(packet.time_base, Fraction(1)))
        video.part = len(self._offsets) - 1

    def _move(self, packet: av.Packet, track: _Track) -> av.Packet:
        unit, time = as_fraction(packet.time_base, Fraction(1)), _time(packet)
        offset = round((self._offsets[track.part] + track.drift) / unit)
        if packet.pts is not None and time is not None and abs(packet.pts * unit - time) > MAX_RISE_SECONDS:
            packet.pts = None  # libav's, from another part: it looks at the end of a file first
        packet.pts = None if packet.pts is None else packet.pts + offset
        packet.dts = None if packet.dts is None else packet.dts + offset
        if time is not None:
            track.last = time
        stamps = [stamp for stamp in (packet.pts, packet.dts) if stamp is not None]
        if stamps and packet.stream.type != "subtitle":
            end = (max(stamps) + (packet.duration or 0)) * unit
            track.end = end if track.end is None else max(track.end, end)
        return packet


def _time(packet: av.Packet) -> Fraction | None:
    return None if packet.dts is None else packet.dts * as_fraction(packet.time_base, Fraction(1))


def _jumps(packet: av.Packet, track: _Track) -> bool:
    time = _time(packet)
    if time is None or track.last is None:
        return False
    is_sparse = packet.stream.type == "subtitle"
    return time < track.last - MAX_FALL_SECONDS or (time > track.last + MAX_RISE_SECONDS and not is_sparse)
