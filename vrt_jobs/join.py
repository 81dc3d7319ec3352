"""Join of the finished segments of a job: a step of its own, which can be repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vrt_media.clip import MediaError
from vrt_media.encoded import joined_times
from vrt_media.muxer import EncodedPacket
from vrt_media.output_plan import OutputPlan
from vrt_media.part_file import PartFile, rename
from vrt_media.reader import VideoReader
from vrt_media.timeline import as_fraction
from vrt_media.writer import VideoWriter

from .disk import digest, identify
from .folder import JobFolder, Record

READ_AHEAD_SECONDS = 1
"""By how much sound is read ahead of the frames."""


def join_video(
    folder: JobFolder,
    records: Sequence[Record],
    plan: OutputPlan,
    reader: VideoReader | None,
    stop_seconds: Fraction | None,
    *,
    overwrite: bool,
    is_final: bool,
) -> None:
    """Write the packets of all segments and the other streams of the input to the output.

    Args:
        folder: Job.
        records: Segments, in order and without gaps.
        plan: Output; with the streams of `reader`.
        reader: Input, opened for this, None for images.
        stop_seconds: Time in the input at which its other streams end; None at the end of the file.
        overwrite: Whether a file of that name is replaced.
        is_final: Whether this is the output of the job, which is whole; else it is a file of what is there.

    Raises:
        MediaError: If a segment is not what its record says, or if there is a file of that name now.
        OSError: If the output cannot be written.
    """
    if is_final:
        folder.clear_join()
    writer = VideoWriter(plan, overwrite=overwrite, folder=folder.path if is_final else None)
    others = _OtherPackets(reader, stop_seconds, writer)
    try:
        duration = max(1, round(1 / (plan.mux.rate * plan.mux.time_base)))
        times = joined_times([[(pts, dts) for pts, dts, *_ in record.packets] for record in records], duration)
        for packet, time in zip(_read_packets(folder, records), times, strict=True):
            others.copy_until(time.dts * plan.mux.time_base + READ_AHEAD_SECONDS)
            writer.write_encoded(replace(packet, dts=time.dts, duration=time.duration, end=time.end))
        others.copy_until(None)
        _check_headers(records, writer)
        writer.finish()
        if is_final and writer.result is not None:
            folder.write_joined(identify(writer.result))
    except BaseException:
        writer.discard()
        raise
    writer.close()


def join_images(folder: JobFolder, records: Iterable[Record], target: Path, *, overwrite: bool, is_final: bool) -> None:
    """Move the images of all segments to the output; those that an earlier join moved stay.

    Args:
        folder: Job.
        records: Segments.
        target: Folder of the images.
        overwrite: Whether images of the same names are replaced.
        is_final: Whether this is the output of the job; else the images are copied.

    Raises:
        MediaError: If an image is missing, or if there is another file of its name.
    """
    target.mkdir(parents=True, exist_ok=True)
    for record in records:
        for name, sha256 in record.files.items():
            source, image = folder.segments / name, target / Path(name).name
            if source.exists() and is_final:
                rename(source, image, overwrite=overwrite)
            elif source.exists():
                part = PartFile(image)
                part.write(source.read_bytes())
                part.publish(overwrite=overwrite)
            elif not image.exists() or digest(image) != sha256:
                raise MediaError(f"{source} is missing; run the same command with --restart")


def is_joined(folder: JobFolder) -> bool:
    """Return whether the output is what an earlier join wrote: only the deletion of the folder is left to do."""
    identity = folder.read_joined()
    return bool(identity) and folder.output.is_file() and identify(folder.output) == identity


class _OtherPackets:
    """Packets of the other streams of the input, passed to the writer as their time comes."""

    def __init__(self, reader: VideoReader | None, stop_seconds: Fraction | None, writer: VideoWriter) -> None:
        self._packets: Iterator[Any] = iter(()) if reader is None else reader.packets(stop_seconds)
        self._writer = writer
        self._next = next(self._packets, None)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Pass on the packets that begin before a time; all if None."""
        while self._next is not None:
            stamp = self._next.dts if self._next.dts is not None else self._next.pts
            unit = as_fraction(self._next.time_base, Fraction(1))
            if seconds is not None and stamp is not None and stamp * unit >= seconds:
                return
            self._writer.copy(self._next)
            self._next = next(self._packets, None)


def _read_packets(folder: JobFolder, records: Iterable[Record]) -> Iterator[EncodedPacket]:
    """Yield the packets of all segments.

    Raises:
        MediaError: If the data is not what the record says.
    """
    for record in records:
        ((name, sha256),) = record.files.items()
        content = hashlib.sha256()
        with (folder.segments / name).open("rb") as file:
            for pts, dts, size, is_keyframe in record.packets:
                data = file.read(size)
                content.update(data)
                if len(data) == size:
                    yield EncodedPacket(data, pts, dts, is_keyframe)
        if content.hexdigest() != sha256:
            raise MediaError(f"segment {name} of {folder.path} is damaged; run the same command to restore it again")


def _check_headers(records: Iterable[Record], writer: VideoWriter) -> None:
    """Check that all segments have the codec headers that the container has."""
    headers = {hashlib.sha256(writer.extradata).hexdigest(), *(record.extradata for record in records)}
    if len(headers) > 1:
        raise MediaError(f"the encoder {writer.codec} gave different headers; run the same command with --restart")
