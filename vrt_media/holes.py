"""Bytes of a Matroska file that no packet accounts for, which a damaged cluster leaves behind.

libav skips what it cannot read and goes on at the next cluster, without an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av

MIN_BYTES = 256
"""Size from which on a hole counts; headers of blocks and clusters take less."""


class HoleWatch:
    """Watches the packets of all streams in the order of the file.

    Attributes:
        num_bytes: Bytes in holes so far.
    """

    def __init__(self) -> None:
        """Start without packets."""
        self.num_bytes = 0
        self._position = self._end = 0

    def watch(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Yield the packets."""
        for packet in packets:
            self._push(packet.pos, packet.size)
            yield packet

    def _push(self, position: int | None, size: int) -> None:
        if position is None or position < 0 or not size:
            return
        if position == self._position:  # of the same block
            self._end += size
            return
        hole = position - self._end
        if self._end and hole >= MIN_BYTES:
            self.num_bytes += hole
        self._position, self._end = position, max(self._end, position + size)
