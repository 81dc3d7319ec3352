"""Restoration in segments, which goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import torch

from vrt_core import Restorer
from vrt_media.clip import FrameReader
from vrt_media.output_plan import OutputPlan
from vrt_media.reader import VideoReader

from .callbacks import Callbacks, Result
from .finishing import join
from .folder import PARTIAL, End, JobFolder
from .manifest import check_same, make_manifest
from .one_pass import damage_of, make_target, tell_start
from .outputs import NOTHING, OutputTarget
from .pipeline import run
from .request import JobRequest
from .segments import ImageSegment, JobWriter, Segment, VideoSegment
from .spill import SpillRecord, frame_bytes, read_record
from .texts import count

Gap = tuple[int, int | None]
"""A run of segments that are missing: the first, and the one before which to end, None for all."""
NameOf = Callable[[int], str]
"""Returns the name of the image of an output frame, without suffix."""
MIN_CHECKPOINT_FRAMES = 16
MAX_SEGMENT_FRAMES, MAX_SPILL_BYTES = 250, 1 << 30
"""Longest segment, as long as x264's own distance of keyframes, and the space that its frames may take meanwhile."""


class SegmentedJob:
    """A job in segments.

    Attributes:
        folder: Its folder; whoever runs the job locks it.
        damage: One line for each kind of damaged frames, of those that were read.
    """

    def __init__(self, request: JobRequest, restorer: Restorer, callbacks: Callbacks) -> None:
        """Describe the job; nothing is read or written yet.

        Args:
            request: What is asked for; `request.can_continue` holds.
            restorer: Loaded model.
            callbacks: How it is watched and stopped.
        """
        self._request, self._restorer, self._callbacks = request, restorer, callbacks
        self.folder = JobFolder(Path(request.output))
        self._segment_frames = self._checkpoint_frames = 0
        self._names: NameOf = str
        self._device_type = restorer.device.type
        self._num_threads = torch.get_num_threads() if self._device_type == "cpu" else 0
        self._is_new = self._has_begun = False
        self.damage: tuple[str, ...] = ()

    def describe_rest(self) -> str:
        """Return what a job that ended early has left; a folder that is new and has no frames is deleted."""
        partial, path = self.folder.read_partial(), self.folder.path
        num_frames = self.folder.num_frames + (0 if partial is None else partial.num_frames)
        if num_frames and self._has_begun:
            rest = f"{count(num_frames, 'frame')} are in {path}"
        elif self.folder.exists and not self._is_new:
            rest = f"the job in {path} stays as it is"
        else:
            self.folder.remove()
            return NOTHING
        return f"{rest}; the same command goes on, `vrt join {path}` makes a file of what is there"

    def run(self) -> Result:
        """Restore what is missing, and join the segments; the folder must be locked.

        Raises:
            JobError: If the folder holds a job with other settings.
            Stopped: If a callback stopped the job; what is finished stays.
        """
        events = self._callbacks.events
        opened = self._request.source.open(self._restorer.device, on_note=events.on_warning)
        with closing(opened) as reader:
            target = make_target(self._request, reader, self._restorer)
            plan = None if target.is_folder else target.plan_video()
            self._names = target.plan_images() if target.is_folder else str
            self._segment_frames = self._request.segment_frames or segment_length(self._restorer, plan)
            if plan is not None:
                target.check_space(plan, copies=2, segment_frames=self._segment_frames)
            self._checkpoint_frames = self._segment_frames if plan is None else checkpoint_length(self._restorer)
            self._begin(reader, plan, target.image_suffix)
            end = self.folder.read_end()
            gaps = list(self._gaps(None if end is None else end.num_frames))
            if gaps:
                end = self._restore_gaps(reader, target, plan, gaps) or end
        assert end is not None
        events.on_join(len(self.folder.records))
        join(self.folder, self._request, self._restorer.scale, self._restorer.frame_factor)
        self.folder.remove()
        return Result(end.num_frames, self._request.output, tuple(end.damage))

    def _begin(self, reader: FrameReader, plan: OutputPlan | None, image_suffix: str) -> None:
        """Create the manifest, or check that it fits and read what is finished."""
        request, restorer, folder = self._request, self._restorer, self.folder
        size = (reader.info.height, reader.info.width)
        old = folder.read_manifest()
        if old and request.restart:
            folder.remove()
            folder.path.mkdir(exist_ok=True)
            old = {}
        if old and request.options.tile_px == "auto" and len(old.get("tiles", ())) == len(restorer.runners):
            restorer.use_tiles(*size, [tuple(tile) for tile in old["tiles"]])
        manifest = make_manifest(
            request,
            restorer,
            size,
            plan,
            segment_frames=self._segment_frames,
            image_suffix=image_suffix,
            device=self._device_type,
            num_threads=self._num_threads,
        )
        if not old:
            self._is_new = self._has_begun = True
            folder.create({**manifest, "created": datetime.now(UTC).isoformat(timespec="seconds")})
            return
        lines = folder.verify()
        check_same(old, manifest, folder.path, folder.num_frames)
        (folder.path / PARTIAL).unlink(missing_ok=True)
        self._has_begun = True
        if old.get("threads", self._num_threads) != self._num_threads:
            lines.append(
                f"the job began with {count(old['threads'], 'thread')} of torch, and goes on with {self._num_threads}: "
                f"frames may differ in the last bit from those of one run; OMP_NUM_THREADS sets the number"
            )
        for line in lines:
            self._callbacks.events.on_warning(line)

    def _gaps(self, num_frames: int | None) -> Iterator[Gap]:
        """Yield the gaps between the segments that are finished."""
        done = sorted(self.folder.records)
        first = 0
        for index in done:
            if index > first:
                yield first, index
            first = index + 1
        if num_frames is None or first * self._segment_frames < num_frames:
            yield first, None

    def _restore_gaps(
        self, reader: FrameReader, target: OutputTarget, plan: OutputPlan | None, gaps: list[Gap]
    ) -> End | None:
        """Restore what is missing; return the end of the clip if it was reached."""
        earlier = {} if plan is None else self._read_spills(gaps, plan)
        make_segment = self._segment_maker(target, plan, self._names, earlier)
        num_finished = self.folder.num_frames + sum(len(spill.stamps) for spill in earlier.values())
        events = self._callbacks.events
        tell_start(events, self._request, self._restorer, reader, target, num_finished=num_finished)
        end = self._restore(reader, gaps[0], earlier, make_segment)
        for gap in gaps[1:]:  # after a segment that was damaged on the disk
            with closing(self._request.source.open(self._restorer.device, on_note=lambda text: None)) as again:
                end = self._restore(again, gap, earlier, make_segment) or end
        return end

    def _read_spills(self, gaps: list[Gap], plan: OutputPlan) -> dict[int, SpillRecord]:
        """Return the frames that are there of the first segment of each gap, by its number."""
        records = {first: read_record(self.folder.segments, first, plan.mux) for first, _ in gaps}
        return {index: record for index, record in records.items() if record is not None}

    def _segment_maker(
        self, target: OutputTarget, plan: OutputPlan | None, names: NameOf, earlier: dict[int, SpillRecord]
    ) -> Callable[[int, int], Segment]:
        """Return the function that makes a segment of its number and its first frame."""
        if plan is None:
            return lambda index, first: ImageSegment(
                self.folder, index, first, names, deep=target.is_deep, suffix=target.image_suffix
            )
        return lambda index, first: VideoSegment(self.folder, index, first, plan.mux, earlier.get(index))

    def _restore(
        self,
        reader: FrameReader,
        gap: Gap,
        earlier: dict[int, SpillRecord],
        make_segment: Callable[[int, int], Segment],
    ) -> End | None:
        """Restore a gap, but for the frames that are there; return the end of the clip if it was reached."""
        events, first = self._callbacks.events, gap[0] * self._segment_frames
        if gap[0] in earlier:
            first += len(earlier[gap[0]].stamps)
        writer = JobWriter(
            self.folder,
            make_segment,
            segment_frames=self._segment_frames,
            checkpoint_frames=self._checkpoint_frames,
            first_frame=first,
            on_segment=lambda record: events.on_segment(record.index, record.first_frame, record.num_frames),
        )
        stop = None if gap[1] is None else gap[1] * self._segment_frames
        try:
            num_frames = run(
                reader,
                self._restorer,
                lambda: writer,
                on_frame=events.on_frame,
                check=self._callbacks.check,
                first_output=first,
                stop_output=stop,
                check_after=self._check_after,
                on_step=events.on_step,
                sigma_255=self._request.options.sigma_255,
            )
        finally:
            self.damage = damage_of(reader)
        if stop is not None:
            return None
        if self.folder.records:  # a kill before the end was recorded may have left the last segment, which is short
            num_frames = max(record.first_frame + record.num_frames for record in self.folder.records.values())
        stop_seconds = reader.stop_seconds if isinstance(reader, VideoReader) else None
        end = End(num_frames, None if stop_seconds is None else str(stop_seconds), list(self.damage))
        self.folder.write_end(end)
        return end

    def _check_after(self, num_frames: int) -> None:
        if num_frames % self._checkpoint_frames == 0:
            self._callbacks.check_after_checkpoint()


def checkpoint_length(restorer: Restorer) -> int:
    """Return the output frames after which a job can go on: whole strides of the model's windows."""
    stride = restorer.stride_frames
    return stride * -(-MIN_CHECKPOINT_FRAMES // stride)


def segment_length(restorer: Restorer, plan: OutputPlan | None) -> int:
    """Return the output frames of a segment.

    Each segment begins with a keyframe, so those of a video are long: a multiple of the checkpoints whose frames take
    at most `MAX_SPILL_BYTES`. Images need none.
    """
    checkpoint = checkpoint_length(restorer)
    if plan is None:
        return checkpoint
    num_frames = min(MAX_SEGMENT_FRAMES, MAX_SPILL_BYTES // frame_bytes(plan.mux))
    return checkpoint * max(num_frames // checkpoint, 1)
