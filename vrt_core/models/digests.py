"""sha256 digests of weight files, and the record of them in ``checksums.json``.

Some files have no published sha256. The first download of such a file is trusted: its digest, and that of its
conversion, go into ``checksums.json`` in the models folder, and later downloads and loads are compared with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .files import CancelCheck, hold_lock, parse_json, write_atomically

RECORD_FILE = "checksums.json"
"""Name of the record, in the folder of the files that it describes."""

_CHUNK_BYTES = 1 << 22


def file_sha256(path: Path, *, raise_if_cancelled: CancelCheck | None = None) -> str:
    """Hexadecimal sha256 of a file, which is read in chunks of 4 MiB.

    Args:
        path: The file.
        raise_if_cancelled: Called before every chunk; raises to cancel.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if raise_if_cancelled:
                raise_if_cancelled()
            digest.update(chunk)
    return digest.hexdigest()


def find_record(folder: Path, file: str) -> Mapping[str, Any] | None:
    """The entry of ``file`` in the record of ``folder``: ``sha256``, ``bytes`` and ``from``; None if it has none.

    Raises:
        WeightsError: If the record is damaged.
    """
    return _read(folder / RECORD_FILE).get(file)


def add_records(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Add entries (by file name) to the record of ``folder``: all of them or, on an error, none.

    Raises:
        WeightsError: If the record is damaged.
    """
    path = folder / RECORD_FILE
    with hold_lock(path):
        record = {**_read(path), **entries}
        write_atomically(path, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read the record {path}: {error}; delete the file to start anew") from error
    if not isinstance(entries, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in entries.values()
    ):
        raise WeightsError(f"{path} does not hold recorded checksums; delete the file to start anew")
    return entries
