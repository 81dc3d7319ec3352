"""From finished segments to the output, with or without the job that made them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vrt_media.output_plan import OutputPlan
from vrt_media.reader import VideoReader

from .events import JobEvents
from .folder import End, JobFolder, Record
from .join import is_joined, join_images, join_video
from .manifest import request_of
from .outputs import OutputTarget
from .request import JobRequest
from .segments import record_of_spill


def join(folder: JobFolder, request: JobRequest, scale: int, factor: int, *, is_final: bool = True) -> int:
    """Make the output of the segments that are finished; return its number of frames.

    Args:
        folder: Job, locked and verified.
        request: Input and output.
        scale: Output height over input height.
        factor: Output frames per input frame.
        is_final: Whether this is the output of the job; else the job can go on.
    """
    end, records = folder.read_end(), _in_a_row(folder.records)
    with closing(request.source.open(on_note=lambda text: None)) as reader:
        target = OutputTarget(
            request.output, reader, request.encoding, scale=scale, factor=factor, overwrite=request.overwrite
        )
        partial = folder.read_partial()
        if end is None and partial is not None and partial.index == len(records):
            records.append(partial)
        if target.is_folder:
            join_images(folder, records, target.path, overwrite=request.overwrite, is_final=is_final)
        else:
            plan = target.plan_video()
            if end is None and partial is None:
                record = record_of_spill(folder, len(records), _num_frames(records), plan.mux)
                records += [] if record is None else [record]
            video = reader if isinstance(reader, VideoReader) else None
            stop = _stop_seconds(end, records, plan, video)
            join_video(folder, records, plan, video, stop, overwrite=request.overwrite, is_final=is_final)
    return _num_frames(records)


def _num_frames(records: list[Record]) -> int:
    return sum(record.num_frames for record in records)


def join_what_is_there(folder: JobFolder, output: str, *, overwrite: bool, events: JobEvents) -> int:
    """Make a file of what a job has finished so far; the job can go on afterwards.

    Args:
        folder: Job, locked.
        output: File or folder.
        overwrite: Whether files of the same names are replaced.
        events: Gets warnings.

    Returns:
        The number of frames.
    """
    request, scale, factor = request_of(folder.read_manifest(), folder.output)
    for line in folder.verify():
        events.on_warning(line)
    return join(folder, replace(request, output=output, overwrite=overwrite), scale, factor, is_final=False)


def finish_earlier_join(output: Path) -> dict[str, Any] | None:
    """Delete the folder of a job whose output is whole, as a kill at the last step leaves it.

    Returns:
        What the job was asked for (`facts_of`); None if there is no such job.
    """
    folder = JobFolder(output)
    if not folder.exists or not is_joined(folder):
        return None
    with folder:
        asked = folder.read_manifest().get("request", {})
        folder.remove()
    return asked


def _in_a_row(records: dict[int, Record]) -> list[Record]:
    """Return the segments from the first on, up to the first that is missing."""
    row: list[Record] = []
    while len(row) in records:
        row.append(records[len(row)])
    return row


def _stop_seconds(
    end: End | None, records: list[Record], plan: OutputPlan, reader: VideoReader | None
) -> Fraction | None:
    """Return the time in the input at which its other streams end."""
    if end is not None:
        return None if end.stop_seconds is None else Fraction(end.stop_seconds)
    stamps = [pts for record in records for pts, *_ in record.packets]
    if reader is None or not stamps:
        return None
    return reader.zero_seconds + max(stamps) * plan.mux.time_base + 1 / plan.mux.rate
