"""Video files that are damaged on purpose: packets lost or overwritten, files joined or cut off."""

import random
from collections.abc import Callable, Collection
from pathlib import Path

import av


def remux(source: Path, target: Path, change: Callable[[av.Packet, int], av.Packet | None]) -> Path:
    """Copy a file packet by packet.

    Args:
        source: File.
        target: Copy.
        change: Gets each video packet with its number, and returns the packet to write instead, None for none.
    """
    with av.open(str(source)) as a, av.open(str(target), "w") as b:
        streams = {s.index: b.add_stream_from_template(s, opaque=True) for s in a.streams}
        number = 0
        for packet in a.demux():
            if not packet.size:
                continue
            stream, copy = streams[packet.stream.index], packet
            if packet.stream.type == "video":
                copy = change(packet, number)
                number += 1
            if copy is not None:
                copy.stream = stream
                b.mux(copy)
    return target


def lose(source: Path, target: Path, numbers: Collection[int]) -> Path:
    """Copy a file without some of its video packets."""
    return remux(source, target, lambda packet, n: None if n in numbers else packet)


def overwrite(source: Path, target: Path, numbers: Collection[int]) -> Path:
    """Copy a file, with random bytes in some of its video packets."""
    rng = random.Random(1)

    def change(packet: av.Packet, n: int) -> av.Packet:
        if n not in numbers:
            return packet
        junk = av.Packet(rng.randbytes(packet.size))
        junk.pts, junk.dts, junk.time_base, junk.duration = packet.pts, packet.dts, packet.time_base, packet.duration
        junk.is_keyframe = packet.is_keyframe
        return junk

    return remux(source, target, change)


def cut_off(source: Path, target: Path, part: float = 0.5) -> Path:
    """Copy the first part of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * part)])
    return target
