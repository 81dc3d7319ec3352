"""Scheduling of encoder threads: SVT-AV1 makes its own and its caller real-time ones, which starve the machine.

As root, SVT-AV1 gives all its threads and the one that opens it the policy SCHED_FIFO with priority 99. Nothing else
then runs on their processors, the kernel's own threads included, and a process that hangs cannot even be killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_THREADS = Path("/proc/self/task")


@contextmanager
def unchanged_scheduling() -> Iterator[None]:
    """Give back their scheduling policy to all threads that had another one before, and to new threads the caller's.

    Does nothing on systems other than Linux.
    """
    if not _THREADS.is_dir():
        yield
        return
    before = _policies()
    own = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread, policy in _policies().items():
            usual = before.get(thread, own)
            if policy[0] != usual[0]:
                with suppress(OSError):  # a thread that has ended
                    os.sched_setscheduler(thread, *usual)


def _policies() -> dict[int, tuple[int, os.sched_param]]:
    """Return the scheduling policy of each thread of this process."""
    policies = {}
    for path in _THREADS.iterdir():
        thread = int(path.name)
        with suppress(OSError):
            policies[thread] = os.sched_getscheduler(thread), os.sched_getparam(thread)
    return policies
