"""Jobs that are killed at operations of the file system on which they depend, and go on afterwards."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture
from tests.helpers.vrt_restore import VrtRestore
from tests.jobs.power_cut import KILLED

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")

ROOT = Path(__file__).parents[2]
NUM_FRAMES = 40
SIZE = (96, 128)
"""Of frames."""
STEP = 7
"""Operations by which each run comes further than the one before."""


def restore_until_it_ends(arguments: list[str | Path]) -> int:
    """Run the command again and again, each time killed some operations later; return the number of kills."""
    for number, at in enumerate(range(2, 500, STEP)):
        command = [sys.executable, "-m", "tests.jobs.power_cut", str(at), "restore", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != KILLED:
            assert done.returncode == 0, done.stderr
            return number
    raise AssertionError("it never ends")


@pytest.mark.parametrize(("suffix", "options"), [(".mkv", ["--segment-frames", "16"]), (".mp4", [])])
def test_killed_again_and_again_the_file_is_the_same(
    tmp_path: Path, vrt: VrtRestore, suffix: str, options: list[str]
) -> None:
    """Each run starts where the one before was killed, and comes a few operations further."""
    clip = make_video(tmp_path / "in.mkv", codec="libx264", num_frames=NUM_FRAMES, audio=True, size=SIZE)
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"
    assert restore_until_it_ends([clip, "-o", out, *options]) > 2
    assert vrt(clip, "-o", whole, *options).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.mkv", out.name, whole.name])


def test_killed_again_and_again_the_images_are_the_same(tmp_path: Path, vrt: VrtRestore) -> None:
    folder, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    folder.mkdir()
    for n in range(4):
        write_image_file(folder / f"{n}.png", picture(n, 16, 16))
    assert restore_until_it_ends([folder, "-o", out]) > 2
    assert vrt(folder, "-o", whole).exit_code == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "whole"]


POWER_CUT = """
import os, sys
from pathlib import Path
from tests.jobs.power_cut import PowerCut
from vrt_jobs.disk import Disk
folder = Path(sys.argv[1])
PowerCut(4).install()
disk = Disk()
disk.create(folder / "lost").write(b"1")
file = disk.create(folder / "kept")
file.write(b"2")
disk.sync(file)
disk.sync_folder(folder)
"""


def test_the_power_cut_of_these_tests_loses_what_is_not_written(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", POWER_CUT, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == KILLED
    assert ((tmp_path / "lost").read_bytes(), (tmp_path / "kept").read_bytes()) == (b"", b"2")
