"""Ctrl-C, failures and full disks: what was finished can be played."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.identity import RecordingRestorer, identity_restorer
from tests.helpers.video_files import make_video, psnr, read_packets, read_planes
from tests.helpers.vrt_restore import VrtRestore
from vrt_cli.interrupt import Interrupt
from vrt_core import Cancelled
from vrt_media.reader import VideoReader

ROOT = Path(__file__).parents[2]


def start(*arguments: str | Path, delay_seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cli.identity_vrt", str(delay_seconds), "restore", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def failing_restorer(fail_at: int) -> RecordingRestorer:
    """Return a restorer that fails in a network pass, hence at that frame."""

    def before_pass(n: int) -> None:
        if n == fail_at:
            raise RuntimeError("a fault")

    return identity_restorer(before_pass=before_pass)


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Wait until a line on standard error starts with these words."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(words):
            return
    raise AssertionError("".join(lines))


@pytest.mark.parametrize(("signum", "suffix"), [(signal.SIGINT, ".mp4"), (signal.SIGTERM, ".mkv")])
def test_ctrl_c_leaves_a_playable_file(tmp_path: Path, signum: signal.Signals, suffix: str) -> None:
    clip = make_video(tmp_path / "in.mp4", codec="libx264", num_frames=200, audio=True)
    out = tmp_path / f"out{suffix}"
    process = start(clip, "-o", out, delay_seconds=0.03)
    wait_for(process, "frame 20")
    process.send_signal(signum)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 128 + signum, messages
    assert not (tmp_path / f"out.part{suffix}").exists()
    frames = read_planes(out)
    assert 19 <= len(frames) < 190
    assert f"stopped: {len(frames)} frames kept in {out}" in messages
    scores = [psnr(a, b) for a, b in zip(read_planes(clip), frames, strict=False)]
    assert min(scores) > 38
    sound = [float(seconds) for seconds, _ in read_packets(out)]
    assert len(sound) > len(frames)  # 47 packets a second against 25 frames
    assert len(frames) / 25 - 0.1 < max(sound) < len(frames) / 25  # it ends with the video


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    clip, out = make_video(tmp_path / "in.mp4", codec="libx264"), tmp_path / "out.mp4"
    process = start(clip, "-o", out, delay_seconds=1)
    wait_for(process, "same on cpu: ")
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped: nothing was written" in messages
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_killed_process_leaves_a_playable_part(tmp_path: Path, suffix: str) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=400)
    out, part = tmp_path / f"out{suffix}", tmp_path / f"out.part{suffix}"
    process = start(clip, "-o", out, "--preset", "ultrafast", delay_seconds=0.01)
    wait_for(process, "frame 80")
    process.kill()
    process.communicate()
    assert not out.exists()
    reader = VideoReader(part)
    frames = list(reader.frames(lambda packet: None))
    reader.close()
    assert 25 <= len(frames) < 390


def test_a_failure_keeps_what_was_finished(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", audio=True), tmp_path / "out.mp4"
    result = vrt(clip, "-o", out, restorer=failing_restorer(7))
    assert isinstance(result.exception, RuntimeError)  # a fault of the program, hence with its traceback
    assert f"failed: 7 frames kept in {out}" in result.stderr
    assert len(read_planes(out)) == 7


def test_a_failure_before_the_first_frame_leaves_nothing(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    vrt(clip, "-o", out, restorer=failing_restorer(0))
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_damaged_input(tmp_path: Path, vrt: VrtRestore) -> None:
    """A file cut off in the middle gives the frames that are there."""
    whole = make_video(tmp_path / "whole.mkv", codec="libx264", num_frames=100)
    clip, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    clip.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert 20 < len(read_planes(out)) < 80


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Python's own handler of SIGINT, which a shell replaces in background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_sigint")
def test_second_signal_is_not_held_back() -> None:
    with Interrupt() as interrupt:
        interrupt.raise_if_cancelled()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Cancelled, match="SIGINT"):
            interrupt.raise_if_cancelled()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
