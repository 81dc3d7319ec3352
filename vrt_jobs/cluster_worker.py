"""Worker of a cluster: holds the model, and restores and encodes segments of a clip; knows nothing of Ray.

It returns what is written to the disk, encoded video or images, so that the machine with the job only writes. Frames
and packets are those of `SegmentedJob`, because the same pipeline restores them and the same encoder encodes them.
"""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vrt_core import Restorer, VRTError
from vrt_media.clip import MediaError
from vrt_media.encoded import FrameEncoder
from vrt_media.image_writer import deep_format, encode_image
from vrt_media.muxer import EncodedPacket, MuxPlan

from .cluster_input import InputCopy, SharedFile, is_visible
from .cluster_reader import PartReader
from .folder import End
from .inputs import InputSource
from .manifest import model_facts
from .pipeline import run

LOGGERS = ("vrt_core", "vrt_media", "vrt_jobs")
NO_INPUT = "the input is not visible here"


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """What a worker must know of a job."""

    key: str
    """Tells jobs apart."""
    source: InputSource
    identity: Mapping[str, Any]
    """What tells the content of the input from others."""
    files: tuple[SharedFile, ...] = ()
    """The input, for workers that cannot see it; none as long as all can."""
    mux: MuxPlan | None
    """Encoder of a video; None for images."""
    image_suffix: str
    is_deep: bool
    """Whether images get 16 bits per channel."""
    segment_frames: int
    tiles: tuple[tuple[int, int], ...] | None
    """Tile of each network, (height, width) in pixels; None for those that the options set."""
    sigma_255: Any
    """Noise level, "auto", or None."""


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker is."""

    host: str
    device: str
    """Type of its device."""
    num_threads: int
    """Threads of torch on a CPU, 0 on other devices."""
    model: Mapping[str, Any]
    """What its frames depend on, as in the manifest."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of a segment, without its data."""

    index: int
    num_frames: int = 0
    end: End | None = None
    """What is known at the end of the clip, if the worker has reached it."""
    notes: tuple[str, ...] = ()
    """What the user should know."""
    error: str = ""
    """Why there is no segment; "" if there is one."""
    is_final: bool = False
    """Whether every other worker would fail likewise."""


@dataclass
class SegmentData:
    """Data of a segment: encoded frames, or images."""

    packets: list[EncodedPacket] = field(default_factory=list)
    extradata: str = ""
    """Digest of the codec's headers."""
    images: list[bytes] = field(default_factory=list)


class SegmentWorker:
    """Restores segments, one after another.

    Attributes:
        facts: What this worker is.
        notes: What the user should know of the segment in work.
        progress: Number of the segment in work and of its frames so far; other threads may read it.
    """

    def __init__(self, load: Callable[[], Restorer], fetch: Callable[[Any], bytes]) -> None:
        """Load the model.

        Args:
            load: Loads it.
            fetch: Returns the chunk of a reference, for `ClipJob.files`.
        """
        self.notes: list[str] = []
        self._restorer, self._fetch = load(), fetch
        device = self._restorer.device.type
        num_threads = torch.get_num_threads() if device == "cpu" else 0
        self.facts = WorkerFacts(platform.node(), device, num_threads, model_facts(self._restorer))
        self.progress = (-1, 0)
        self._job_key = ""
        self._reader: PartReader | None = None
        self._copy: InputCopy | None = None

    def tile_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the tile of each network for frames of this size, as the memory of this device allows."""
        return self._restorer.tile_sizes(height, width)

    def restore(self, job: ClipJob, index: int) -> tuple[Summary, SegmentData]:
        """Restore a segment; errors are returned."""
        self.notes.clear()
        self.progress = (index, 0)
        data = SegmentData()
        try:
            reader = self._open(job)
            if reader is None:
                return Summary(index=index, error=NO_INPUT), data
            num_frames = self._run(job, index, reader, data)
            end = None
            if reader.is_at_end:
                total = reader.num_frames * self._restorer.frame_factor
                end = End(total, reader.stop_seconds, list(reader.damage))
            return Summary(index=index, num_frames=num_frames, end=end, notes=tuple(self.notes)), data
        except Exception as error:  # noqa: BLE001 (raised again where the job is)
            self.close()
            is_final = isinstance(error, (MediaError, VRTError))
            text = str(error) if is_final else f"{type(error).__name__}: {error}"
            return Summary(index=index, error=text, is_final=is_final, notes=tuple(self.notes)), SegmentData()
        finally:
            self.progress = (-1, 0)

    def close(self) -> None:
        """Close the clip, and delete the copy of it."""
        self._job_key = ""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._copy is not None:
            self._copy.remove()
            self._copy = None

    def _open(self, job: ClipJob) -> PartReader | None:
        """Return the reader of a job; None if this machine has not got the input."""
        if self._reader is not None and self._job_key == job.key:
            return self._reader
        self.close()
        source = job.source
        if not is_visible(source, job.identity):
            if not job.files:
                return None
            self._copy = InputCopy(source, job.identity, job.files, self._fetch)
            source = self._copy.source
        device = self._restorer.device
        self._reader = PartReader(lambda: source.open(device, on_note=self.notes.append), device)
        self._job_key = job.key
        if job.tiles is not None:
            self._restorer.use_tiles(self._reader.info.height, self._reader.info.width, job.tiles)
        return self._reader

    def _run(self, job: ClipJob, index: int, reader: PartReader, data: SegmentData) -> int:
        """Restore a segment from a reader; return its number of frames."""
        first, stop = index * job.segment_frames, (index + 1) * job.segment_frames
        needed = self._restorer.first_frame_needed
        reader.begin_part(needed(first), needed(stop))
        writer = _DataWriter(job, data)

        def count(num_frames: int) -> None:
            self.progress = (index, num_frames)

        run(
            reader,
            self._restorer,
            lambda: writer,
            on_frame=count,
            first_output=first,
            stop_output=stop,
            sigma_255=job.sigma_255,
        )
        return writer.num_frames


class _DataWriter:
    """Collects the encoded frames of a segment; a `FrameWriter` that counts from the start of the segment."""

    def __init__(self, job: ClipJob, data: SegmentData) -> None:
        self._mux, self._data = job.mux, data
        self._suffix, self._image_format = job.image_suffix, deep_format(job.image_suffix, job.is_deep)
        self._encoder: FrameEncoder | None = None
        self.num_frames, self.result = 0, None

    def write(self, rgb: Tensor, pts: int) -> None:
        """Encode a frame, (3, H, W)."""
        if self._mux is None:
            self._data.images.append(encode_image(rgb, self._suffix, self._image_format))
        else:
            self._encoder = self._encoder or FrameEncoder(self._mux)
            self._data.packets += self._encoder.encode(self._encoder.convert(rgb, pts))
        self.num_frames += 1

    def copy(self, packet: object) -> None:
        """Do nothing: packets of other streams are read when the segments are joined."""

    def cut_short(self) -> None:
        """Do nothing: the segment is dropped."""

    def close(self, *, complete: bool = True) -> None:
        """Encode what waits."""
        if self._encoder is not None:
            self._data.packets += self._encoder.encode(None)
            self._data.extradata = hashlib.sha256(self._encoder.extradata).hexdigest()

    def discard(self) -> None:
        """Do nothing: there is no file."""


def clip_encoder(plan: MuxPlan) -> MuxPlan:
    """Return what an encoder must know of an output: other streams stay on the machine that joins the segments."""
    return replace(plan, streams=(), chapters=(), attachments=(), metadata={})


def collect_logs(notes: list[str]) -> None:
    """Append the warnings of the program to a list from now on: on another machine they would be lost."""
    handler = _NoteHandler(notes)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)


class _NoteHandler(logging.Handler):
    """Appends warnings to a list."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line."""
        self._notes.append(record.getMessage())
