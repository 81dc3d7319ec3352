"""Atomic writes, and locks between threads and processes."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.weights import names_in
from vrt_core.errors import Cancelled
from vrt_core.models.files import hold_lock, write_atomically

ROOT = Path(__file__).parents[3]
HOLD_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from vrt_core.models.files import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError):  # noqa: PT011 (this very one)
        write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    num_inside, max_inside = 0, 0

    def enter() -> None:
        nonlocal num_inside, max_inside
        for _ in range(5):
            with hold_lock(tmp_path / "a"):
                num_inside += 1
                max_inside = max(max_inside, num_inside)
                threading.Event().wait(0.002)
                num_inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max_inside == 1
    assert names_in(tmp_path) == []


def test_waiting_is_reported_once_and_can_be_cancelled(tmp_path: Path) -> None:
    reports, polls = [], iter(range(3))

    def raise_if_cancelled() -> None:
        if next(polls) == 2:
            raise Cancelled

    waiting = hold_lock(tmp_path / "a", raise_if_cancelled=raise_if_cancelled, on_wait=lambda: reports.append(1))
    with hold_lock(tmp_path / "a"), pytest.raises(Cancelled), waiting:
        pytest.fail("entered twice")
    assert reports == [1]


def test_processes_exclude_each_other_until_the_holder_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD_UNTIL_KILLED, str(tmp_path / "a")]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        reports = []
        with hold_lock(tmp_path / "a", on_wait=lambda: reports.append(1), raise_if_cancelled=holder.kill):
            assert holder.wait() != 0
        assert reports == [1]
    finally:
        holder.kill()
        holder.communicate()


def test_a_file_system_without_locks_excludes_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FileLock, *, blocking: bool) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with hold_lock(tmp_path / "a"), hold_lock(tmp_path / "a"):
        write_atomically(tmp_path / "a", b"content")


def test_a_lock_that_cannot_be_created_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FileLock, *, blocking: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(PermissionError), hold_lock(tmp_path / "a"):
        pytest.fail("entered without a lock")
