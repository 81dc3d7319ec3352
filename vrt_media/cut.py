"""Packets of sound and subtitles for a part of a clip: those between two times, with times counted from its start."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction

import av

from .timeline import as_fraction

LEAD_IN_PACKETS, LONGER_LEAD_INS = 2, {"mp3": 5, "opus": 5}
"""Packets of sound before a part that are handed over, by codec: the one that spans its start, and those from which the
decoder starts. Their times are negative, so players do not play them."""
MAX_LEAD_IN_SECONDS = Fraction(1, 4)


class PacketCut:
    """Hands over the packets that lie in a part of a clip.

    The end of the part may be unknown at first; packets then wait until the frames of their time are read.
    """

    def __init__(
        self,
        on_packet: Callable[[av.Packet], object],
        *,
        zero: Fraction,
        start: Fraction | None = None,
        stop: Fraction | None = None,
        waits: bool = False,
    ) -> None:
        """Start the part.

        Args:
            on_packet: Gets the packets.
            zero: Time in the file that becomes 0, seconds.
            start: Time at which the part starts, None if packets before it belong to it.
            stop: Time at which it ends, None if unknown or at the end of the file.
            waits: Whether packets wait for `advance`.
        """
        self._on_packet, self._zero, self._start, self._stop, self._waits = on_packet, zero, start, stop, waits
        self._waiting: deque[av.Packet] = deque()
        self._primers: dict[int, av.Packet] = {}
        self._lead_ins: dict[int, deque[av.Packet]] = {}

    def push(self, packet: av.Packet) -> None:
        """Take the next packet.

        Of those that the file marks as outside its edit list, only the last is handed over, from which the decoder
        starts.
        """
        if not packet.size:
            return
        if packet.is_discard:
            self._primers[packet.stream_index] = packet
            return
        primer = self._primers.pop(packet.stream_index, None)
        for each in (packet,) if primer is None else (primer, packet):
            self._take(each)

    def _take(self, packet: av.Packet) -> None:
        if self._waits:
            self._waiting.append(packet)
        else:
            self._hand_over(packet)

    def advance(self, seconds: Fraction) -> None:
        """Hand over the packets that begin before a time, and subtitles that end before it."""
        later: deque[av.Packet] = deque()
        for packet in self._waiting:
            time = _end(packet) if packet.stream.type == "subtitle" else _begin(packet)
            if time is not None and time >= seconds:
                later.append(packet)
            else:
                self._hand_over(packet)
        self._waiting = later

    def finish(self, stop: Fraction | None) -> None:
        """End the part, at a time, or at the end of the file if None; packets no longer wait."""
        self._stop, self._waits = stop, False
        waiting, self._waiting = self._waiting, deque()
        for packet in waiting:
            self._hand_over(packet)

    def _hand_over(self, packet: av.Packet) -> None:
        time = _begin(packet)
        if time is not None:
            if packet.stream.type == "subtitle":
                _clip(packet, self._start, self._stop)
                time = _begin(packet) or time
            if self._start is not None and time < self._start:
                if packet.stream.type == "audio" and time > self._start - MAX_LEAD_IN_SECONDS:
                    self._lead_ins.setdefault(packet.stream_index, _empty_lead_in(packet)).append(packet)
                return
            if self._stop is not None and time >= self._stop:
                return
            for each in self._lead_ins.pop(packet.stream_index, ()):
                self._move(each)
        self._move(packet)

    def _move(self, packet: av.Packet) -> None:
        """Hand over a packet with times that count from the zero of the part."""
        unit = as_fraction(packet.time_base, Fraction(1))
        offset = round(self._zero / unit)
        packet.pts = None if packet.pts is None else packet.pts - offset
        packet.dts = None if packet.dts is None else packet.dts - offset
        self._on_packet(packet)


def _empty_lead_in(packet: av.Packet) -> deque[av.Packet]:
    codec = packet.stream.codec_context
    name = codec.codec.canonical_name if codec is not None else ""
    return deque(maxlen=LONGER_LEAD_INS.get(name, LEAD_IN_PACKETS))


def _begin(packet: av.Packet) -> Fraction | None:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else stamp * as_fraction(packet.time_base, Fraction(1))


def _end(packet: av.Packet) -> Fraction | None:
    begin = _begin(packet)
    return None if begin is None else begin + (packet.duration or 0) * as_fraction(packet.time_base, Fraction(1))


def _clip(packet: av.Packet, start: Fraction | None, stop: Fraction | None) -> None:
    """Shorten a subtitle to the part of it that lies between two times, if there is any."""
    if packet.pts is None or not packet.duration:
        return
    unit = as_fraction(packet.time_base, Fraction(1))
    begin, end = packet.pts * unit, (packet.pts + packet.duration) * unit
    begins_before = start is not None and begin < start < end
    if begins_before or (stop is not None and begin < stop < end):
        if begins_before and start is not None:
            packet.pts = packet.dts = -(-start // unit)
        last = end if stop is None else min(end, stop)
        packet.duration = max(1, int(last / unit) - packet.pts)
