"""Rehearsal of an output: the same streams muxed into memory, so that refusals come before the work, not after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import av
import av.logging
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from .attachments import Attachment
from .audio import CopiedTrack
from .clip import MediaError
from .container import local_path
from .muxer import Muxer, MuxPlan
from .part_file import MemoryFile
from .timeline import as_fraction

PACKETS_PER_STREAM, MAX_SAMPLE_PACKETS = 3, 2000
"""Packets of each stream that are muxed, and packets that are read to find them."""
UNREADABLE = "may not be recognized upon reading"
"""Libav's words for a codec that MPEG-TS has no number for, which it writes in spite of that."""


def rehearse(plan: MuxPlan, name: str) -> tuple[MuxPlan, list[str]]:
    """Mux one black frame, and the first packets of all streams.

    Args:
        plan: What the output consists of.
        name: Name of the output, for messages.

    Returns:
        The plan without the streams and attachments that the container refuses, and one line for each of these.

    Raises:
        MediaError: If encoder and container do not take the video.
    """
    samples = first_packets(plan.streams)
    if try_out(plan, samples) is None:
        return plan, []
    alone = replace(plan, streams=(), attachments=())
    refusal = try_out(alone, [])
    if refusal is not None:
        raise MediaError(f"{name}: {refusal}")
    refusals = {
        **{stream.index: try_out(replace(alone, streams=(stream,)), samples) for stream in plan.streams},
        **{each.index: try_out(replace(alone, attachments=(each,)), []) for each in plan.attachments},
    }
    parts = (*plan.streams, *plan.attachments)
    plan = replace(
        plan,
        streams=[stream for stream in plan.streams if refusals[stream.index] is None],
        attachments=[each for each in plan.attachments if refusals[each.index] is None],
    )
    refusal = try_out(plan, samples)
    if refusal is not None:
        raise MediaError(f"{name}: {refusal}")
    return plan, [
        describe_refusal(part, plan.suffix, refusals[part.index] or "")
        for part in parts
        if refusals[part.index] is not None
    ]


def try_out(plan: MuxPlan, samples: Sequence[Packet]) -> str | None:
    """Mux one black frame and the packets of the plan's streams; return the reason if that fails, else None."""
    with quoting_libav() as messages:
        try:
            muxer = Muxer(MemoryFile(f"rehearsal{plan.suffix}"), plan)
            frame = av.VideoFrame(plan.width, plan.height, plan.pix_fmt)
            plan.colour.tag(frame)
            frame.pts, frame.time_base = 0, plan.time_base
            muxer.encode(frame)
            for sample in samples:
                track = muxer.tracks.get(sample.stream_index)
                if isinstance(track, CopiedTrack):
                    track.feed(_copy(sample))
            muxer.finish()
        except (MediaError, FFmpegError, ValueError) as error:
            return reason_of(error)
    return next((text.strip().rstrip(".") for _, _, text in messages if UNREADABLE in text), None)


def first_packets(streams: Sequence[Stream]) -> list[Packet]:
    """Read the first packets of each stream from its file once more, from time 0 on; none from pipes."""
    path = local_path(streams[0].container) if streams else None
    if path is None:
        return []
    missing = {stream.index: PACKETS_PER_STREAM for stream in streams}
    packets: list[Packet] = []
    with av.open(f"file:{path}") as container:
        for number, packet in enumerate(container.demux([container.streams[index] for index in missing])):
            if number == MAX_SAMPLE_PACKETS or not any(missing.values()):
                break
            if packet.size and missing[packet.stream_index]:
                missing[packet.stream_index] -= 1
                packets.append(packet)
    starts = [packet.dts * as_fraction(packet.time_base, Fraction(1)) for packet in packets if packet.dts is not None]
    for packet in packets:
        offset = round(min(starts, default=Fraction(0)) / as_fraction(packet.time_base, Fraction(1)))
        packet.pts = None if packet.pts is None else packet.pts - offset
        packet.dts = None if packet.dts is None else packet.dts - offset
    return packets


def _copy(packet: Packet) -> Packet:
    """Return a copy, because a muxer changes the packets that it gets."""
    copy = Packet(bytes(packet))
    copy.time_base, copy.pts, copy.dts, copy.duration = packet.time_base, packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy


def describe_refusal(part: Stream | Attachment, container: str, reason: str = "") -> str:
    """Return one line that names a stream or attachment and the reason for which it is left out."""
    name = str(part)
    if isinstance(part, Stream):
        name = f"{part.type} stream {part.index} ({part.codec_context.name if part.codec_context else 'unknown'})"
    has_reason = reason and "does not support" not in reason  # words for what the line says already
    return f"{name}: {container} cannot hold it" + (f" ({reason})" if has_reason else "")


@contextmanager
def quoting_libav() -> Iterator[list[tuple[int, str, str]]]:
    """Let libav's errors carry its last message, which PyAV leaves out by default; give the list of all messages."""
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as messages:
            yield messages
    finally:
        av.logging.set_level(before[0])
        av.logging.set_skip_repeated(before[1])


def reason_of(error: Exception) -> str:
    """Return libav's own words for an error if there are any, else those of the operating system."""
    if isinstance(error, FFmpegError):
        text = error.log[2] if error.log else error.strerror or type(error).__name__
        return text.strip().rstrip(".")
    return str(error)
