"""Encoded frames: packets of segments that are encoded one by one, and joined to one stream later.

Each segment has an encoder of its own, so it begins with a keyframe, and no packet refers to another segment. Encoders
compute decoding time stamps for their own frames only. Those of the joined stream are computed anew from the order of
all frames: packet i is decoded when frame i - D of the display order is shown, where D is the largest number of frames
by which a packet comes before its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import av
from torch import Tensor

from .muxer import EncodedPacket, Muxer, MuxPlan
from .part_file import MemoryFile
from .planes import write_rgb


class FrameEncoder:
    """Encodes the frames of one segment."""

    def __init__(self, plan: MuxPlan) -> None:
        """Open the encoder with the settings that it has in the container of the plan.

        Raises:
            MediaError: If there is no such encoder.
        """
        self._plan = replace(plan, streams=(), attachments=(), chapters=())
        self._muxer = Muxer(MemoryFile(f"segment{plan.suffix}"), self._plan)

    @property
    def extradata(self) -> bytes:
        """Headers of the codec, which the container stores once; complete after the first packet."""
        return self._muxer.extradata

    def convert(self, rgb: Tensor, pts: int) -> av.VideoFrame:
        """Return (3, H, W) as a frame for `encode`."""
        frame = write_rgb(rgb, self._plan.pix_fmt, self._plan.colour)
        frame.pts, frame.time_base = pts, self._plan.time_base
        return frame

    def encode(self, frame: av.VideoFrame | None) -> list[EncodedPacket]:
        """Encode a frame, or the frames that wait in the encoder if None; return the packets that are ready."""
        encoded = []
        for packet in self._muxer.video.encode(frame):
            pts = packet.pts or 0
            dts = pts if packet.dts is None else packet.dts
            encoded.append(EncodedPacket(bytes(packet), pts, dts, packet.is_keyframe))
        return encoded


@dataclass(frozen=True)
class PacketTimes:
    """Time stamps of one packet in a joined stream, in units of the plan's time base; its pts stays."""

    dts: int
    duration: int
    """Time until the next frame is shown."""
    end: int | None = None
    """Time at which the last frame ends, for the last packet; None for the others."""


def joined_times(segments: Sequence[Sequence[tuple[int, int]]], default_duration: int) -> Iterator[PacketTimes]:
    """Compute the time stamps of the packets of all segments in a row.

    Args:
        segments: (pts, dts) of each packet of each segment, in the order of decoding.
        default_duration: Duration of the frame of a clip of one.
    """
    shown = [pts for segment in segments for pts in sorted(pts for pts, _ in segment)]
    steps = {a: b - a for a, b in pairwise(shown)}
    last_step = steps[shown[-2]] if len(shown) > 1 else default_duration
    is_one_to_one = all(a < b for a, b in pairwise(shown))
    delay = max((_delay([pts for pts, _ in segment]) for segment in segments), default=0)
    first_step = steps[shown[0]] if len(shown) > 1 and is_one_to_one else default_duration
    stamps = [shown[0] - n * first_step for n in range(delay, 0, -1)] + shown
    if not is_one_to_one:  # packets that show nothing: the encoder's own stamps, made to rise
        stamps = list(accumulate((dts for segment in segments for _, dts in segment), lambda a, b: max(a + 1, b)))
    number = 0
    for segment in segments:
        for pts, _ in segment:
            is_last = number == len(shown) - 1
            end = shown[-1] + last_step if is_last else None
            yield PacketTimes(min(stamps[number], pts), steps.get(pts, last_step), end)
            number += 1


def _delay(stamps: Sequence[int]) -> int:
    """Return by how many places the packet with these time stamps comes at most before its turn to be shown."""
    rank = {pts: n for n, pts in enumerate(sorted(stamps))}
    return max((n - rank[pts] for n, pts in enumerate(stamps)), default=0)
