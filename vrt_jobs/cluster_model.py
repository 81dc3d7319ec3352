"""A model on the workers of a cluster, for one job after another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vrt_core import RestoreOptions, Restorer, load_restorer

from .callbacks import Callbacks
from .cluster import ClusterJob
from .cluster_ray import RayCluster, RayPool
from .errors import JobError
from .request import JobRequest

if TYPE_CHECKING:
    from .cluster_worker import WorkerFacts

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""Names of precisions, by those of torch."""


class ClusterModel:
    """Loads a model on the workers of a cluster, and makes jobs for them."""

    def __init__(self, cluster: RayCluster, num_workers: int | None) -> None:
        """Use a cluster.

        Args:
            cluster: Connection, which `close` ends.
            num_workers: Number of workers; None for one for each GPU, or for each machine if there are none.
        """
        self._cluster, self._num_workers = cluster, num_workers
        self._pool: RayPool | None = None
        self._start: Callable[[], RayPool] | None = None

    def load(self, model: str, options: RestoreOptions, load_here: Callable[[RestoreOptions], Restorer]) -> Restorer:
        """Load a model on the workers; return it on the CPU of this machine, for planning.

        Args:
            model: Name or file, which each worker must be able to see.
            options: Settings.
            load_here: Loads the model with other settings, and checks them.

        Raises:
            JobError: If the cluster has too few devices.
            MediaError: If no worker can load the model.
        """
        resources = self._cluster.plan_workers(str(options.device), self._num_workers)
        restorer = _load_for_planning(load_here, options)
        parts = [model] if Path(model).is_file() else model.split("+")
        name = "+".join(str(Path(part).absolute()) if Path(part).is_file() else part for part in parts)
        on_worker = partial(load_restorer, name, replace(options, device=resources.device, sigma_255=None))
        self._end_pool()
        self._start = partial(self._cluster.start_pool, resources, on_worker)
        precision = PRECISIONS[self._facts().model["precision"]]
        if precision != PRECISIONS[str(restorer.dtype).removeprefix("torch.")]:
            restorer = _load_for_planning(load_here, replace(options, precision=precision))
        return restorer

    def make_job(self, request: JobRequest, restorer: Restorer, callbacks: Callbacks) -> ClusterJob:
        """Return a job on the workers.

        Raises:
            JobError: If the input cannot be read by several workers, or the output not be made of segments.
        """
        if not request.can_continue:
            raise JobError(
                f"--ray restores files and folders to files and folders, not {request.source.clip} to {request.output}"
            )
        facts = self._facts()
        assert self._pool is not None
        return ClusterJob(request, restorer, callbacks, self._pool, facts)

    def close(self) -> None:
        """End the workers, and the connection."""
        self._end_pool()
        self._cluster.close()

    def _facts(self) -> WorkerFacts:
        """Return what the first worker is; start workers if there are none, as after a job that failed."""
        assert self._start is not None
        if self._pool is None or self._pool.is_abandoned:
            self._pool = self._start()
        return self._pool.first_facts()

    def _end_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _load_for_planning(load: Callable[[RestoreOptions], Restorer], options: RestoreOptions) -> Restorer:
    """Load a model on the CPU, without warnings that a CPU is slow in this precision: it computes nothing."""
    log = logging.getLogger("vrt_core")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return load(replace(options, device="cpu"))
    finally:
        log.setLevel(level)
