"""The record of digests, and the lock that keeps writers apart."""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from tests.core.weights_helpers import names_in
from vrt_core.errors import Cancelled, WeightsError
from vrt_core.models import digests
from vrt_core.models.digests import exclusive, file_sha256, record, recorded, write_then_rename


def test_file_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # more than one piece
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()

    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        file_sha256(tmp_path / "a", check=check)


def test_records_add_up(tmp_path: Path) -> None:
    assert recorded(tmp_path, "a") is None
    record(tmp_path, {"a": {"sha256": "1"}, "b": {"sha256": "2"}})
    record(tmp_path, {"b": {"sha256": "3"}})
    assert recorded(tmp_path, "a") == {"sha256": "1"}
    assert recorded(tmp_path, "b") == {"sha256": "3"}
    assert names_in(tmp_path) == ["checksums.json"]


@pytest.mark.parametrize("content", ["[", "[]", '{"a": 1}', '{"a": {}}', '{"a": {"sha256": 1}}'])
def test_a_damaged_record_is_an_error_not_a_free_pass(tmp_path: Path, content: str) -> None:
    (tmp_path / "checksums.json").write_text(content)
    with pytest.raises(WeightsError, match=r"checksums\.json.*delete the file to start anew"):
        recorded(tmp_path, "a")
    with pytest.raises(WeightsError):
        record(tmp_path, {"b": {"sha256": "3"}})
    assert (tmp_path / "checksums.json").read_text() == content


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError):  # noqa: PT011 (this very one)
        write_then_rename(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_exclusive_excludes(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(5):
            with exclusive(tmp_path / "a"):
                inside += 1
                most = max(most, inside)
                threading.Event().wait(0.002)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert names_in(tmp_path) == []


def test_waiting_for_another_can_be_cancelled(tmp_path: Path) -> None:
    def check() -> None:
        raise Cancelled

    with exclusive(tmp_path / "a"), pytest.raises(Cancelled), exclusive(tmp_path / "a", check=check):
        pytest.fail("entered twice")


@pytest.mark.skipif(sys.platform == "win32", reason="there a file that is open cannot be deleted")
def test_a_lock_file_deleted_by_its_last_holder_is_not_a_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try_lock = digests._try_lock
    tries: list[bool] = []

    def lock_what_was_just_deleted(file: IO[bytes]) -> bool:
        if not tries:
            (tmp_path / "a.lock").unlink()
        tries.append(True)
        return try_lock(file)

    monkeypatch.setattr(digests, "_try_lock", lock_what_was_just_deleted)
    with exclusive(tmp_path / "a"):
        assert len(tries) == 2
        assert names_in(tmp_path) == ["a.lock"]
