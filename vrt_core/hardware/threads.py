"""Limit of OpenMP threads for threads that do not run the network."""

from __future__ import annotations

import logging
import threading

import torch

_log = logging.getLogger(__name__)
_thread = threading.local()


def use_one_openmp_thread() -> None:
    """Limit OpenMP to one thread for the calling thread, until it ends.

    Call it in threads that read, convert or write frames, so that they do not slow the inference thread: torch keeps a
    pool of OpenMP threads for each thread that has ever computed something large. With more of them than cores, even
    idle ones, OpenMP no longer keeps its threads awake between operations, and a network takes a third longer.
    ``torch.set_num_threads`` does not replace this function: called in any thread, it slows attention in all threads.

    Needs threadpoolctl, which the front ends with such threads depend on; without it, nothing changes.
    """
    if getattr(_thread, "is_limited", False):
        return
    _thread.is_limited = True
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        _log.info("threadpoolctl is not installed: on a CPU, threads that read and write slow the network")
        return
    torch.get_num_threads()  # torch sets the number at a thread's first call, so make that call first
    threadpool_limits(1, user_api="openmp")
