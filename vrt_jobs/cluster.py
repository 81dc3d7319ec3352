"""Job on the workers of a cluster: the same folder, manifest and file as those of one process.

Workers restore and encode; this process plans, writes what comes back, and joins it. So a job that began here goes on
without workers, and the other way round. Frames that a job without workers has left of a segment in work are not used:
a worker restores that segment from its start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vrt_core import Cancelled, Restorer
from vrt_media.clip import FrameReader
from vrt_media.output_plan import OutputPlan

from .callbacks import Callbacks
from .cluster_dispatch import Dispatcher
from .cluster_input import absolute
from .cluster_plan import SegmentQueue
from .cluster_pool import WorkerPool, WorkerReady
from .cluster_worker import ClipJob, SegmentData, Summary, WorkerFacts, clip_encoder
from .folder import End
from .job import Gap, SegmentedJob
from .manifest import model_facts
from .one_pass import tell_start
from .outputs import OutputTarget
from .pipeline import Stopped
from .request import JobRequest
from .segments import ImageSegment, store_packets
from .spill import frames_path, record_path
from .texts import count


class ClusterJob(SegmentedJob):
    """A job in segments, on workers."""

    def __init__(
        self, request: JobRequest, restorer: Restorer, callbacks: Callbacks, pool: WorkerPool, facts: WorkerFacts
    ) -> None:
        """Describe the job; nothing is read or written yet.

        Args:
            request: What is asked for; `request.can_continue` holds.
            restorer: The model of the workers, on any device; it plans, and computes nothing.
            callbacks: How the job is watched and stopped.
            pool: Workers.
            facts: What they are, as the first of them reports.
        """
        super().__init__(request, restorer, callbacks)
        self._pool, self._device_type, self._num_threads = pool, facts.device, facts.num_threads
        self._facts: dict[str, Any] = {"device": facts.device, **model_facts(restorer)}

    def _begin(self, reader: FrameReader, plan: OutputPlan | None, image_suffix: str) -> None:
        size = reader.info.height, reader.info.width
        if self._device_type != self._restorer.device.type and self._request.options.tile_px == "auto":
            self._restorer.use_tiles(*size, self._pool.tile_sizes(*size))
        super()._begin(reader, plan, image_suffix)

    def _restore_gaps(
        self, reader: FrameReader, target: OutputTarget, plan: OutputPlan | None, gaps: list[Gap]
    ) -> End | None:
        events, folder, expected = self._callbacks.events, self.folder, reader.info.num_frames
        known_end = folder.read_end()
        queue = SegmentQueue(
            self._segment_frames,
            finished=folder.records,
            expected_frames=None if expected is None else expected * self._restorer.frame_factor,
            num_frames=None if known_end is None else known_end.num_frames,
        )
        device = f"{count(len(self._pool.names), 'worker')} ({self._device_type})"
        tell_start(events, self._request, self._restorer, reader, target, num_finished=folder.num_frames, device=device)
        dispatcher = Dispatcher(
            self._pool,
            queue,
            self._clip_job(reader, target, plan),
            accept=self._refusal,
            store=lambda summary, data: self._store(summary, data, target),
            callbacks=self._callbacks,
            num_finished=folder.num_frames,
        )
        try:
            dispatcher.run()
        except (Cancelled, KeyboardInterrupt):
            raise Stopped(folder.num_frames) from None
        finally:
            self.damage = () if dispatcher.end is None else tuple(dispatcher.end.damage)
        end = known_end or dispatcher.end
        assert end is not None
        folder.write_end(end)
        return end

    def _clip_job(self, reader: FrameReader, target: OutputTarget, plan: OutputPlan | None) -> ClipJob:
        """Return what workers must know."""
        manifest, options, info = self.folder.read_manifest(), self._request.options, reader.info
        tiles = self._restorer.tile_sizes(info.height, info.width) if options.tile_px == "auto" else None
        return ClipJob(
            key=f"{Path(self._request.output).absolute()} {manifest['created']}",
            source=absolute(self._request.source),
            identity=manifest["fixed"]["input"],
            mux=None if plan is None else clip_encoder(plan.mux),
            image_suffix=target.image_suffix,
            is_deep=target.is_deep,
            segment_frames=self._segment_frames,
            tiles=tiles,
            sigma_255=options.sigma_255,
        )

    def _refusal(self, ready: WorkerReady) -> str:
        """Return in what a worker differs from what this job needs; "" if in nothing."""
        facts = ready.facts
        theirs: dict[str, Any] = {"device": facts.device, **facts.model}
        for key, value in self._facts.items():
            if theirs.get(key) != value:
                return f"a worker on {facts.host} is not used: {key} {theirs.get(key)} there, {value} here"
        return ""

    def _store(self, summary: Summary, data: SegmentData, target: OutputTarget) -> None:
        """Write a segment to the disk, then its record."""
        folder, index = self.folder, summary.index
        first = index * self._segment_frames
        if target.is_folder:
            images = ImageSegment(folder, index, first, self._names, deep=target.is_deep, suffix=target.image_suffix)
            for image in data.images:
                images.store(image)
            record = images.close()
        else:
            record = store_packets(folder, index, first, data.packets, data.extradata)
        folder.add(record)
        record_path(folder.segments, index).unlink(missing_ok=True)
        frames_path(folder.segments, index).unlink(missing_ok=True)
        self._callbacks.events.on_segment(index, first, record.num_frames)
