"""Durable files: whole or absent, also after a power cut."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from vrt_media.part_file import sync_folder

CHUNK_BYTES = 1 << 20
TEMPORARY = ".tmp"


class Disk:
    """The operations of the file system on which a job depends; tests replace it by one that fails."""

    def create(self, path: Path) -> BinaryIO:
        """Create or empty a file of the job."""
        return path.open("wb", buffering=0)

    def reopen(self, path: Path, num_bytes: int) -> BinaryIO:
        """Open a file of the job for reading and appending, cut to its first bytes."""
        file = path.open("r+b", buffering=0)
        file.truncate(num_bytes)
        return file

    def sync(self, file: BinaryIO) -> None:
        """Write the content of a file to the disk."""
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file, over another if there is one."""
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        """Write the names in a folder to the disk."""
        sync_folder(folder)


class DurableFile:
    """A file that gets its name when it is whole.

    Attributes:
        num_bytes: Bytes written.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        """Create the file under a temporary name."""
        self._path, self._disk = path, disk
        self._temporary = path.with_name(hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16] + TEMPORARY)
        self._file = disk.create(self._temporary)
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    @property
    def sha256(self) -> str:
        """Digest of what was written."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append all of the data."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._hash.update(data)
        self.num_bytes += len(data)

    def publish(self) -> None:
        """Write the content to the disk, and give the file its name."""
        self._disk.sync(self._file)
        self._file.close()
        self._disk.replace(self._temporary, self._path)
        self._disk.sync_folder(self._path.parent)

    def discard(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def write_json(path: Path, facts: Any, disk: Disk) -> None:
    """Write a JSON file, whole or not at all."""
    file = DurableFile(path, disk)
    try:
        file.write(json.dumps(facts, indent=1, ensure_ascii=True).encode() + b"\n")
        file.publish()
    except BaseException:
        file.discard()
        raise


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def digest(path: Path) -> str:
    """Return the SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identify(path: Path) -> dict[str, Any]:
    """Return what tells a file from others by its content: its size, and a digest of its first and last MiB."""
    size, content = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        content.update(file.read(CHUNK_BYTES))
        file.seek(max(size - CHUNK_BYTES, 0))
        content.update(file.read(CHUNK_BYTES))
    return {"bytes": size, "sha256_of_ends": content.hexdigest()}
