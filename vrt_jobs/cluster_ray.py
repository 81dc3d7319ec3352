"""Workers on a Ray cluster: one actor for each GPU, or for each share of the processors.

Ray is imported when it is asked for. Actors are plain ones: Ray starts them where there is a free device, starts them
again elsewhere when their process or machine dies, and carries what they return.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from vrt_core import Restorer
from vrt_media.clip import MediaError

from .cluster_input import SharedFile, share_input
from .cluster_plan import Resources, plan_workers
from .cluster_pool import DataLostError, PoolEvent, SegmentDone, WorkerLost, WorkerReady
from .cluster_worker import ClipJob, SegmentData, SegmentWorker, Summary, WorkerFacts, collect_logs
from .errors import JobError
from .inputs import InputSource

MAX_RESTARTS = 10
"""Times that a worker is started again; machines that are taken away on purpose do not count."""
OBJECT_STORE_BYTES = 1 << 30
"""Memory for results in a cluster of this machine; Ray puts what is more on the disk."""
CLOSE_SECONDS, CONNECT_SECONDS = 5.0, 5.0
ADVICE = "ray start --head starts one, which may ask for RAY_AUTH_MODE=token here; --ray local needs none"
WATCH = "watch"
"""Group of calls that are answered while a segment is in work."""


class RayCluster:
    """A connection to a cluster.

    Attributes:
        dashboard: Address of its page; "" if it has none.
    """

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: host:port of a cluster, "auto" for the one that runs on this machine, or "local" to start one here
                for as long as this process runs.

        Raises:
            JobError: If Ray is not installed, or if there is no such cluster.
        """
        self._ray = _import_ray()
        if address not in ("auto", "local"):
            _check_address(address)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if address == "local":
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a cluster of ours reports to nobody
            quiet["object_store_memory"] = OBJECT_STORE_BYTES
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of a coming default
        try:
            context = self._ray.init(address=address, **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise JobError(f"--ray {address}: no Ray cluster there ({_reason(error)}); {ADVICE}") from None
        page = getattr(context, "dashboard_url", "") or ""
        self.dashboard = page if not page or "://" in page else f"http://{page}"

    def plan_workers(self, device: str, num_workers: int | None) -> Resources:
        """Return what each worker gets, as `plan_workers` does for the machines of the cluster."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return plan_workers([(int(n.get("CPU", 0)), int(n.get("GPU", 0))) for n in nodes], device, num_workers)

    def start_pool(self, resources: Resources, load: Callable[[], Restorer]) -> RayPool:
        """Start workers that load a model."""
        return RayPool(self._ray, resources, load, self.dashboard)

    def close(self) -> None:
        """Disconnect; end the cluster if it was started here."""
        self._ray.shutdown()


class RayPool:
    """Actors of a cluster; a `WorkerPool`.

    Attributes:
        dashboard: Address of the page of the cluster.
        names: Name of each worker that is ready or starts.
    """

    def __init__(self, ray: Any, resources: Resources, load: Callable[[], Restorer], dashboard: str) -> None:
        """Start the actors; they load the model meanwhile.

        Args:
            ray: The module.
            resources: What each gets.
            load: Loads the model.
            dashboard: Address of the page of the cluster.
        """
        self._ray, self.dashboard = ray, dashboard
        options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_restarts": MAX_RESTARTS}
        actor_class = ray.remote(**options, concurrency_groups={WATCH: 1})(_Actor)
        numbers = range(resources.num_workers)
        self._actors = {n: actor_class.remote(load, resources.cpus) for n in numbers}
        self.names = {n: f"worker {n}" for n in numbers}
        self._facts: dict[int, WorkerFacts] = {}
        self._calls: dict[Any, tuple[int, int | None, Any]] = {}
        """Worker, segment (None: it starts) and data of each call that has not returned."""
        self._questions: dict[Any, int] = {}
        self._progress: dict[int, tuple[int, int]] = {}
        for n in numbers:
            self._greet(n)

    @property
    def is_abandoned(self) -> bool:
        """Whether all workers were ended."""
        return not self._actors

    def first_facts(self) -> WorkerFacts:
        """Wait for the first worker; return what it is.

        Raises:
            MediaError: If none of them can load the model.
        """
        reasons: list[str] = []
        while not self._facts:
            reasons += [event.reason for event in self.wait(1.0) if isinstance(event, WorkerLost) and event.is_gone]
            if not self._actors:
                raise MediaError(f"no worker could load the model: {reasons[-1]}")
        return next(iter(self._facts.values()))

    def tile_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the tile of each network, as the memory of a worker's device allows."""
        worker = next(iter(self._facts))
        return self._ray.get(self._actors[worker].tile_sizes.remote(height, width))

    def begin_job(self) -> Sequence[WorkerReady]:
        """Return the workers that are ready and idle; others are reported when they have ended what they do."""
        for ref, (worker, index, _) in list(self._calls.items()):
            if index is not None:  # a segment behind the end of the last clip
                del self._calls[ref]
                self._facts.pop(worker, None)
                self._greet(worker)
        return [WorkerReady(worker, facts) for worker, facts in self._facts.items()]

    def submit(self, worker: int, job: ClipJob, index: int) -> None:
        """Let an idle worker restore a segment."""
        summary, data = self._actors[worker].restore.options(num_returns=2).remote(job, index)
        self._calls[summary] = worker, index, data

    def wait(self, seconds: float) -> Sequence[PoolEvent]:
        """Wait until something happens, that long at most."""
        if not self._calls:
            time.sleep(seconds)
            return []
        refs = list(self._calls)
        done, _ = self._ray.wait(refs, num_returns=1, timeout=seconds)
        if done:
            done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        return [self._event_of(ref) for ref in done]

    def fetch(self, data: Any) -> SegmentData:
        """Return the data of a segment."""
        try:
            return self._ray.get(data)
        except self._ray.exceptions.RayError as error:
            raise DataLostError(_reason(error)) from None

    def share(self, source: InputSource) -> tuple[SharedFile, ...]:
        """Put an input into the object store."""
        return share_input(source, self._ray.put)

    def restart(self, worker: int) -> None:
        """Replace the process of a worker."""
        self._facts.pop(worker, None)
        self._ray.kill(self._actors[worker], no_restart=False)
        self._greet(worker)

    def dismiss(self, worker: int) -> None:
        """End a worker for good."""
        self._facts.pop(worker, None)
        self.names.pop(worker, None)
        self._ray.kill(self._actors.pop(worker))

    def progress(self) -> Mapping[int, tuple[int, int]]:
        """Return the segment in work and its frames so far of workers that answered lately."""
        if self._questions:
            refs = list(self._questions)
            done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref in done:
                worker = self._questions.pop(ref)
                with suppress(self._ray.exceptions.RayError):
                    self._progress[worker] = self._ray.get(ref)
        asked = set(self._questions.values())
        for worker, index, _ in self._calls.values():
            if index is not None and worker not in asked:
                question = self._actors[worker].progress.options(concurrency_group=WATCH).remote()
                self._questions[question] = worker
        return self._progress

    def abandon(self) -> None:
        """End all workers at once."""
        for worker in list(self._actors):
            self.dismiss(worker)
        self._calls.clear()
        self._questions.clear()

    def close(self) -> None:
        """End all workers after they have deleted their temporary files."""
        closing = [actor.close.remote() for worker, actor in self._actors.items() if worker in self._facts]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        self.abandon()

    def _greet(self, worker: int) -> None:
        """Ask a worker that starts what it is; it answers when it has loaded the model."""
        ref = self._actors[worker].facts.options(max_task_retries=-1).remote()
        self._calls[ref] = worker, None, None

    def _event_of(self, ref: Any) -> PoolEvent:
        """Return what a call that has ended says; a worker that died is asked again."""
        worker, index, data = self._calls.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._facts.pop(worker, None)
            self._progress.pop(worker, None)
            if index is None:  # it does not come back
                self.names.pop(worker, None)
                self._actors.pop(worker, None)
                return WorkerLost(worker, None, _reason(error), is_gone=True)
            self._greet(worker)
            return WorkerLost(worker, index, _reason(error))
        if isinstance(answer, str):
            self.dismiss(worker)
            return WorkerLost(worker, None, answer, is_gone=True)
        if isinstance(answer, WorkerFacts):
            self._facts[worker] = answer
            self.names[worker] = f"{answer.host}:{worker}"
            return WorkerReady(worker, answer)
        return SegmentDone(worker, answer, data)


class _Actor:
    """A worker as an actor."""

    def __init__(self, load: Callable[[], Restorer], num_threads: int) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(num_threads)
        try:
            self._worker = SegmentWorker(load, ray.get)
        except Exception as error:  # noqa: BLE001 (reported by `facts`: Ray would print a traceback)
            self._error = f"{platform.node()}: {error or type(error).__name__}"
        else:
            self._error = ""
            collect_logs(self._worker.notes)

    def facts(self) -> WorkerFacts | str:
        """Return what this worker is, or why it is none."""
        return self._error or self._worker.facts

    def tile_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the tiles for frames of this size."""
        return self._worker.tile_sizes(height, width)

    def restore(self, job: ClipJob, index: int) -> tuple[Summary, SegmentData]:
        """Restore a segment."""
        return self._worker.restore(job, index)

    def progress(self) -> tuple[int, int]:
        """Return the number of the segment in work, and of its frames so far."""
        return self._worker.progress

    def close(self) -> None:
        """Delete temporary files."""
        self._worker.close()


def _check_address(address: str) -> None:
    """Check that something listens at an address: Ray itself would try for many minutes.

    Raises:
        JobError: If nothing does, or if it is no address.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise JobError(f"--ray {address}: neither host:port of a cluster that this machine belongs to, auto, nor local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise JobError(f"--ray {address}: no Ray cluster there ({error}); {ADVICE}") from None


def _import_ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise JobError(f'--ray needs Ray ({error}): pip install "vrt-restore[jobs]"') from None
    return ray


def _reason(error: BaseException) -> str:
    """Return the line of what Ray reports that names the cause, or of the error behind it."""
    lines = [line.strip() for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("The actor is dead because")]
    return [*causes, *lines, type(error).__name__][0]
