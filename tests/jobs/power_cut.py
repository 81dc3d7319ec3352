"""The program `vrt restore` with a restorer that returns its input, and a power cut.

Usage: python -m tests.jobs.power_cut AT restore ARGUMENTS
"""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from tests.cli import identity_vrt
from vrt_jobs import disk as disk_module

KILLED = 9


class PowerCut:
    """Ends the process at one of the operations; what was not written to the disk before it is lost.

    Files lose what was written since their last synchronisation, and folders the names that were given since theirs,
    with the file that had such a name before.
    """

    def __init__(self, at: int) -> None:
        self._at, self._count = at, 0
        self._synced_bytes: dict[Path, int] = {}
        self._renamed: list[tuple[Path, Path]] = []

    def install(self) -> None:
        replace, fsync = Path.replace, os.fsync
        create, reopen = disk_module.Disk.create, disk_module.Disk.reopen

        def create_unwritten(disk: disk_module.Disk, path: Path) -> BinaryIO:
            self._step()
            self._synced_bytes[path] = 0
            return create(disk, path)

        def sync(descriptor: int) -> None:
            self._step()
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path in self._synced_bytes:
                self._synced_bytes[path] = path.stat().st_size
            self._renamed = [(source, target) for source, target in self._renamed if target.parent != path]
            fsync(descriptor)

        def rename(source: Path, target: Path) -> Path:
            self._step()
            self._renamed.append((source, target))
            return replace(source, target)

        def reopen_unwritten(disk: disk_module.Disk, path: Path, num_bytes: int) -> BinaryIO:
            self._step()
            self._synced_bytes[path] = num_bytes
            return reopen(disk, path, num_bytes)

        disk_module.Disk.create = create_unwritten  # type: ignore[method-assign]
        disk_module.Disk.reopen = reopen_unwritten  # type: ignore[method-assign]
        os.fsync = sync
        Path.replace = rename  # type: ignore[method-assign]

    def _step(self) -> None:
        self._count += 1
        if self._count < self._at:
            return
        for source, target in reversed(self._renamed):
            if target.exists() and not source.exists():
                os.rename(target, source)
        for path, num_bytes in self._synced_bytes.items():
            if path.exists():
                os.truncate(path, min(num_bytes, path.stat().st_size))
        os._exit(KILLED)


def main() -> None:
    PowerCut(int(sys.argv[1])).install()
    sys.argv[1] = "-1"
    identity_vrt.main()


if __name__ == "__main__":
    main()
