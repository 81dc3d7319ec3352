"""Input of workers on other machines: read where it is if they can see it, else from copies of its chunks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from vrt_media.clip import MediaError
from vrt_media.images import list_images

from .inputs import InputSource
from .manifest import identify_input

CHUNK_BYTES = 64 << 20
"""Size of the objects in which a file is passed on."""


@dataclass(frozen=True)
class SharedFile:
    """A file of the input, in chunks."""

    name: str
    """Name within the folder of the input."""
    chunks: tuple[Any, ...]
    """References of the chunks, in order."""


def absolute(source: InputSource) -> InputSource:
    """Return an input by its absolute path: workers have other working folders."""
    return replace(source, clip=str(Path(source.clip).absolute()))


def is_visible(source: InputSource, identity: Mapping[str, Any]) -> bool:
    """Return whether the input is here under its path, with the content that the manifest has."""
    try:
        return Path(source.clip).exists() and identify_input(source) == dict(identity)
    except (OSError, MediaError):
        return False


def share_input(source: InputSource, put: Callable[[bytes], Any]) -> tuple[SharedFile, ...]:
    """Pass on all files of an input.

    Args:
        source: Video, image, or folder of images.
        put: Stores a chunk; returns its reference.
    """
    path = Path(source.clip)
    paths = list_images(path) if path.is_dir() else [path]
    return tuple(SharedFile(p.name, tuple(put(chunk) for chunk in _chunks(p))) for p in paths)


class InputCopy:
    """The input of a job in the temporary folder of a machine; its workers share one copy.

    Attributes:
        source: The input, read from the copy.
    """

    def __init__(
        self,
        source: InputSource,
        identity: Mapping[str, Any],
        files: tuple[SharedFile, ...],
        fetch: Callable[[Any], bytes],
    ) -> None:
        """Write the copy, unless it is there.

        Args:
            source: Input on the machine that has it.
            identity: What tells it from others.
            files: Its files.
            fetch: Returns the chunk of a reference.

        Raises:
            OSError: If it cannot be written.
        """
        key = hashlib.sha256(json.dumps([source.clip, dict(identity)], sort_keys=True).encode()).hexdigest()[:16]
        self._folder = Path(tempfile.gettempdir()) / f"vrt-input-{key}"
        names = [file.name for file in files]
        is_folder = names != [Path(source.clip).name]
        target = self._folder / ("images" if is_folder else names[0])
        self.source = replace(source, clip=str(target))
        self._folder.mkdir(mode=0o700, exist_ok=True)
        is_own = not hasattr(os, "getuid") or self._folder.stat().st_uid == os.getuid()
        if self._folder.is_symlink() or not is_own:
            raise OSError(f"{self._folder} belongs to another user")
        with FileLock(self._folder / "lock"):
            if is_visible(self.source, identity):
                return
            (target if is_folder else self._folder).mkdir(exist_ok=True)
            for file in files:
                with ((target if is_folder else self._folder) / file.name).open("wb") as copy:
                    for chunk in file.chunks:
                        copy.write(fetch(chunk))

    def remove(self) -> None:
        """Delete the copy; workers that have it open can still read it, where the system allows that."""
        with suppress(OSError):
            shutil.rmtree(self._folder)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            yield data
