"""Digests of weight files, and the record of those seen at first download.

For files without a published sha256, the first download sets the mark: ``checksums.json`` in the models folder
keeps what was fetched and what was made of it, and both are checked from then on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..errors import WeightsError

RECORD_FILE = "checksums.json"
"""Name of the record, in the folder of the files it speaks of."""

_POLL_SECONDS = 0.1


def file_sha256(path: Path, *, check: Callable[[], None] | None = None) -> str:
    """Hexadecimal sha256 of a file, read in pieces.

    Args:
        path: The file.
        check: Called before every piece; raises to cancel.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            if check:
                check()
            digest.update(piece)
    return digest.hexdigest()


def recorded(folder: Path, file: str) -> Mapping[str, Any] | None:
    """What the record of ``folder`` says about ``file``: ``sha256``, ``bytes`` and ``from``; None if nothing.

    Raises:
        WeightsError: If the record is there but damaged.
    """
    return _read(folder / RECORD_FILE).get(file)


def record(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Add entries (by file name) to the record of ``folder``, whole or not at all.

    Raises:
        WeightsError: If the record is damaged.
    """
    path = folder / RECORD_FILE
    with exclusive(path):
        whole = {**_read(path), **entries}
        write_then_rename(path, (json.dumps(whole, indent=2, sort_keys=True) + "\n").encode())


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read the record {path}: {error}; delete the file to start anew") from error
    if not isinstance(entries, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in entries.values()
    ):
        raise WeightsError(f"{path} does not hold recorded checksums; delete the file to start anew")
    return entries


def write_then_rename(path: Path, content: bytes) -> None:
    """Write a file that is either the old one or the new one, never half of it."""
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


@contextmanager
def exclusive(
    path: Path, *, check: Callable[[], None] | None = None, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold ``path`` against every other thread and process that asks likewise; wait while one has it.

    The hold is a lock on ``path + ".lock"``, which the system lifts when its holder dies, and which is deleted
    at the end. Where the file system knows no locks, nothing is held.

    Args:
        path: What is held; it need not exist.
        check: Called while waiting; raises to cancel.
        on_wait: Called once, if waiting is needed.
    """
    lock = path.with_name(f"{path.name}.lock")
    file = _open_locked(lock)
    if file is None and on_wait:
        on_wait()
    while file is None:
        if check:
            check()
        time.sleep(_POLL_SECONDS)
        file = _open_locked(lock)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps open files; a lock file left behind is harmless
            lock.unlink()
        file.close()


def _open_locked(lock: Path) -> IO[bytes] | None:
    """The lock file, locked; None if another has it."""
    file = lock.open("ab")
    try:
        if not _try_lock(file):
            file.close()
            return None
        # Its last holder may have deleted the file between our opening and our locking it.
        if sys.platform != "win32" and not _is_still(lock, file):
            file.close()
            return None
    except BaseException:
        file.close()
        raise
    return file


def _is_still(lock: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        """Lock the first byte; the system lifts it when the file is closed."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        """Lock the whole file; the system lifts it when the file is closed."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
        return True
