"""sha256 of files, and the record of digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.helpers.weights import names_in
from vrt_core.errors import Cancelled, WeightsError
from vrt_core.models.digests import add_records, file_sha256, find_record


def test_file_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # more than one chunk
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()

    def raise_if_cancelled() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        file_sha256(tmp_path / "a", raise_if_cancelled=raise_if_cancelled)


def test_records_add_up(tmp_path: Path) -> None:
    assert find_record(tmp_path, "a") is None
    add_records(tmp_path, {"a": {"sha256": "1"}, "b": {"sha256": "2"}})
    add_records(tmp_path, {"b": {"sha256": "3"}})
    assert find_record(tmp_path, "a") == {"sha256": "1"}
    assert find_record(tmp_path, "b") == {"sha256": "3"}
    assert names_in(tmp_path) == ["checksums.json"]


@pytest.mark.parametrize("content", ["[", "[]", '{"a": 1}', '{"a": {}}', '{"a": {"sha256": 1}}'])
def test_a_damaged_record_is_an_error_not_a_free_pass(tmp_path: Path, content: str) -> None:
    (tmp_path / "checksums.json").write_text(content)
    with pytest.raises(WeightsError, match=r"checksums\.json.*delete the file to start anew"):
        find_record(tmp_path, "a")
    with pytest.raises(WeightsError):
        add_records(tmp_path, {"b": {"sha256": "3"}})
    assert (tmp_path / "checksums.json").read_text() == content
