"""Who may use the threads of torch on a CPU: the thread that the network runs in, and no other."""

from __future__ import annotations

import logging
import threading

import torch

_log = logging.getLogger(__name__)
_here = threading.local()


def compute_alone() -> None:
    """Let torch compute in this thread alone what this thread asks for, from now on; for threads beside the network's.

    Otherwise it keeps helpers for each thread that ever computed something large. With more of them than cores, even
    idle ones, OpenMP no longer lets helpers stay awake from one operation to the next, and a network takes a third
    longer. ``torch.set_num_threads`` is not for this: once called in whatever thread, it slows attention everywhere.
    Needs threadpoolctl, which the front ends with such threads bring; without it, nothing is changed.
    """
    if getattr(_here, "alone", False):
        return
    _here.alone = True
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        _log.info("threadpoolctl is not installed: on a CPU, threads that read and write slow the network")
        return
    torch.get_num_threads()  # torch sets the number when a thread first asks, so let that be over
    threadpool_limits(1, user_api="openmp")  # kept until the thread ends
