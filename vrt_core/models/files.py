"""Files on disk: atomic writes, JSON, locks between processes, free space, and disk errors as ``WeightsError``."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import WeightsError

CancelCheck = Callable[[], None]
"""Raises if the caller wants to stop; else does nothing."""

_POLL_SECONDS = 0.1
_MAX_JSON_BYTES = 1 << 20
_LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: ``path`` holds the old content or the new, never a part.

    Raises:
        OSError: If the file cannot be written; the temporary file is deleted.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def parse_json(text: str) -> Any:
    """Parse JSON that may come from an untrusted file.

    Raises:
        ValueError: If it is no JSON, longer than 1 MiB, or too deeply nested.
    """
    if len(text) > _MAX_JSON_BYTES:
        raise ValueError(f"JSON of {len(text)} characters, expected at most {_MAX_JSON_BYTES}")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


@contextmanager
def hold_lock(
    path: Path, *, raise_if_cancelled: CancelCheck | None = None, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Exclude every other thread and process that calls this for the same path; wait while one of them holds it.

    The lock is one of the operating system on ``path + ".lock"``, so it ends with the process that holds it. The
    empty lock file may stay. A file system without locks (some network shares) excludes nobody.

    Args:
        path: The file to protect; it need not exist.
        raise_if_cancelled: Called every 0.1 s while waiting; raises to cancel.
        on_wait: Called once, if waiting is needed.

    Raises:
        OSError: If the lock file cannot be created.
    """
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    is_waiting = False
    while not _try_acquire(lock):
        if on_wait and not is_waiting:
            on_wait()
        is_waiting = True
        if raise_if_cancelled:
            raise_if_cancelled()
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _try_acquire(lock: FileLock) -> bool:
    """Return False if another holds the lock; True also if the file system has no locks."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in _LOCKS_UNSUPPORTED:
            raise
    return True


def check_space(folder: Path, required_bytes: int) -> None:
    """Check that the disk of ``folder`` has enough free space.

    Raises:
        WeightsError: If it has not.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < required_bytes:
        raise WeightsError(
            f"no space left in {folder}: {required_bytes / 1e6:.0f} MB are needed, {free_bytes / 1e6:.0f} MB are free; "
            "free some, or choose another folder"
        )


@contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Convert an ``OSError`` about writing ``path`` into one that says what to do.

    Raises:
        WeightsError: Instead of OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(f"no space left for {path} ({reason}); free some, or choose another folder") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise WeightsError(f"no permission to write {path} ({reason}); choose another folder") from error
        raise WeightsError(f"cannot write {path}: {reason}; choose another folder") from error
