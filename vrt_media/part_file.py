"""Files under construction: created under a name of their own, renamed when they are whole.

No name that exists is opened, so neither an input, nor the part of another job, nor a file behind a symbolic link can
be truncated.
"""

from __future__ import annotations

import os
from io import BytesIO, FileIO
from itertools import count
from pathlib import Path

from .clip import MediaError

MAX_NAME_BYTES = 255
"""Length of the longest file name that common file systems take, encoded."""


class PartFile(FileIO):
    """A file for writing beside its target, as `STEM.part.SUFFIX` or, if that exists, `STEM.part2.SUFFIX`.

    It can be read, too. It is not buffered: what was written survives the process.

    Attributes:
        path: Where the file is: under its own name, or under that of the target once it is published.
    """

    def __init__(self, target: Path, folder: Path | None = None) -> None:
        """Create the file.

        Args:
            target: Name that it gets in the end.
            folder: Where it lies until then, in the same file system; beside the target if None.

        Raises:
            OSError: If the folder cannot be written to.
        """
        for number in count(1):
            self.path = part_path(target if folder is None else folder / target.name, number)
            try:
                super().__init__(str(self.path), "x+b")
            except FileExistsError:
                continue
            break
        self._target = target
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write all of the data; the first error is remembered, because libav hides it behind its own."""
        view = memoryview(data)
        try:
            while view:
                view = view[super().write(view) or 0 :]
        except OSError as error:
            error.filename = str(self.path)
            self.error = self.error or error
            raise
        return len(data)

    def publish(self, *, overwrite: bool) -> None:
        """Close the file, and give it the name of the target.

        Args:
            overwrite: Whether a file of that name is replaced.

        Raises:
            MediaError: If there is a file of that name, and `overwrite` is false; the part is left as it is.
        """
        self.complete()
        rename(self.path, self._target, overwrite=overwrite)
        self.path = self._target

    def complete(self) -> None:
        """Write everything to the disk, and close the file."""
        if not self.closed:
            os.fsync(self.fileno())
            self.close()

    def discard(self) -> None:
        """Close and delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


class MemoryFile(BytesIO):
    """A file in memory, with a name from which libav selects the container."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def part_path(target: Path, number: int = 1) -> Path:
    """Return the name of a part; the stem is shortened where the name would be too long for the file system."""
    return with_ending(target, f".part{number if number > 1 else ''}{target.suffix}", target.stem)


def with_ending(target: Path, ending: str, stem: str) -> Path:
    """Return the name `stem + ending` beside a target, with the stem shortened to what a file system takes."""
    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return target.with_name(stem + ending)


def rename(source: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a file.

    Raises:
        MediaError: If there is a file of that name, and `overwrite` is false.
    """
    if not overwrite:
        try:
            FileIO(str(target), "xb").close()  # claims the name, so that nobody else's file is replaced
        except FileExistsError:
            raise MediaError(f"{target} appeared while the job ran; the result is in {source}") from None
    try:
        source.replace(target)
    except OSError:
        if not overwrite:
            target.unlink(missing_ok=True)  # the claim
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, so that renamed files survive a power cut; nothing on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems have no such call
        pass
    finally:
        os.close(descriptor)
