"""Jobs that are killed at every operation of the file system on which they depend, and go on afterwards."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture
from tests.helpers.vrt_restore import VrtRestore
from vrt_jobs import disk as disk_module

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]

NUM_FRAMES, SEGMENT = 40, 16
SIZE = (96, 128)
"""Of frames; x264 encodes smaller ones by memory that it has not set, each time otherwise."""
KILLED = 9


class PowerCut:
    """Ends the process at one of the operations; what was not written to the disk before it is lost.

    Files that were not synchronised lose their content, and folders the names that were given since their last
    synchronisation: the older name comes back, if there was one.
    """

    def __init__(self, at: int) -> None:
        self._at, self._count = at, 0
        self._unwritten: set[Path] = set()
        self._renamed: list[tuple[Path, Path]] = []

    def install(self) -> None:
        replace, fsync = Path.replace, os.fsync
        create = disk_module.Disk.create

        def create_unwritten(disk: disk_module.Disk, path: Path) -> BinaryIO:
            self._step()
            self._unwritten.add(path)
            return create(disk, path)

        def sync(descriptor: int) -> None:
            self._step()
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self._unwritten.discard(path)
            self._renamed = [(source, target) for source, target in self._renamed if target.parent != path]
            fsync(descriptor)

        def rename(source: Path, target: Path) -> Path:
            self._step()
            self._renamed.append((source, target))
            return replace(source, target)

        disk_module.Disk.create = create_unwritten  # type: ignore[method-assign]
        os.fsync = sync
        Path.replace = rename  # type: ignore[method-assign]

    def _step(self) -> None:
        self._count += 1
        if self._count < self._at:
            return
        for source, target in reversed(self._renamed):
            if target.exists() and not source.exists():
                os.rename(target, source)
        for path in self._unwritten:
            if path.exists():
                os.truncate(path, 0)
        os._exit(KILLED)


def in_a_child(work: Callable[[], int]) -> int:
    """Run a function in a process of its own, and return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def restore_until_it_ends(vrt: VrtRestore, arguments: list[str | Path], folder: Path) -> int:
    """Run the command again and again, each time killed one operation later; return the number of kills."""
    for at in range(1, 500):

        def work(at: int = at) -> int:
            PowerCut(at).install()
            return vrt(*arguments, restorer=identity_restorer()).exit_code

        code = in_a_child(work)
        if code != KILLED:
            assert code == 0, sorted(folder.rglob("*"))
            return at - 1
    raise AssertionError("it never ends")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_killed_at_every_operation_the_file_is_the_same(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    """Each run starts where the one before was killed, and is killed itself one operation later than that."""
    clip = make_video(tmp_path / "in.mkv", codec="libx264", num_frames=NUM_FRAMES, audio=True, size=SIZE)
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"
    assert vrt(clip, "-o", whole).exit_code == 0
    kills = restore_until_it_ends(vrt, [clip, "-o", out], tmp_path)
    assert kills > 8
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.mkv", out.name, whole.name])


@pytest.mark.parametrize("at", range(1, 40, 3))
def test_killed_once_the_file_is_the_same(tmp_path: Path, vrt: VrtRestore, at: int) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=NUM_FRAMES, size=SIZE)
    out, whole = tmp_path / "out.mkv", tmp_path / "whole.mkv"
    assert vrt(clip, "-o", whole).exit_code == 0

    def work() -> int:
        PowerCut(at).install()
        return vrt(clip, "-o", out).exit_code

    assert in_a_child(work) in (KILLED, 0)
    passes: list[int] = []
    if not out.exists() or (tmp_path / "out.mkv.vrt").exists():
        result = vrt(clip, "-o", out, restorer=identity_restorer(before_pass=passes.append))
        assert result.exit_code == 0, result.stderr
    assert len(passes) % SEGMENT in (0, NUM_FRAMES % SEGMENT)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv", "whole.mkv"]


def test_killed_at_every_operation_the_images_are_the_same(tmp_path: Path, vrt: VrtRestore) -> None:
    folder, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    folder.mkdir()
    for n in range(20):
        write_image_file(folder / f"{n}.png", picture(n, 16, 16))
    assert vrt(folder, "-o", whole).exit_code == 0
    restore_until_it_ends(vrt, [folder, "-o", out], tmp_path)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "whole"]


def test_the_power_cut_of_these_tests_loses_what_is_not_written(tmp_path: Path) -> None:
    def work() -> int:
        PowerCut(4).install()
        disk = disk_module.Disk()
        disk.create(tmp_path / "lost").write(b"1")
        with disk.create(tmp_path / "kept") as file:
            file.write(b"2")
            disk.sync(file)
        disk.sync_folder(tmp_path)
        return 0

    assert in_a_child(work) == KILLED
    assert ((tmp_path / "lost").read_bytes(), (tmp_path / "kept").read_bytes()) == (b"", b"2")
