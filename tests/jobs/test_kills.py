"""A job killed at 100 random moments, on three containers: the file is that of an uninterrupted run, each time."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.video_files import make_video
from tests.helpers.vrt_restore import VrtRestore

ROOT = Path(__file__).parents[2]
NUM_KILLS = 34


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_killed_at_random_moments(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    """The moments are random ones of the frames and of the join: output on standard error tells where the job is."""
    clip = make_video(tmp_path / "in.mkv", codec="libx264", num_frames=600, size=(96, 128), audio=True)
    out, whole, rng = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}", random.Random(suffix)
    assert vrt(clip, "-o", whole).exit_code == 0
    kills = 0
    while kills < NUM_KILLS:
        command = [sys.executable, "-m", "tests.cli.identity_vrt", "-1", "restore", str(clip), "-o", str(out), "--json"]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:  # from the first event on
            if '"start"' in line:
                break
        try:
            process.wait(rng.uniform(0, 1.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if out.exists() and not Path(f"{out}.vrt").exists():  # finished, maybe killed on its way out
            assert out.read_bytes() == whole.read_bytes()
            out.unlink()
    result = vrt(clip, "-o", out, "-y")
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes() == whole.read_bytes()
