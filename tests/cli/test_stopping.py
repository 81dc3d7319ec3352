"""Signals, failures and damaged input: the frames that were finished can be played."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.damaged_files import overwrite
from tests.helpers.identity import RecordingRestorer, identity_restorer
from tests.helpers.video_files import make_video, read_packets, read_planes
from tests.helpers.vrt_restore import VrtRestore
from vrt_cli.interrupt import Interrupt
from vrt_core import Cancelled
from vrt_media.reader import VideoReader

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 120
SIZE = (96, 128)
"""Of frames whose files are compared."""


def start(*arguments: str | Path, pause_at: int) -> subprocess.Popen[str]:
    """Start `vrt restore`, and wait until it has restored `pause_at` frames and waits for a line."""
    command = [sys.executable, "-m", "tests.cli.identity_vrt", str(pause_at), "restore", *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(f"frame {pause_at}"):
            return process
    raise AssertionError("".join(lines))


def stop(process: subprocess.Popen[str], signum: signal.Signals) -> str:
    """Send a signal, let the program go on, and return the rest of its messages."""
    process.send_signal(signum)
    _, messages = process.communicate("\n", timeout=TIMEOUT_SECONDS)
    return messages


def failing_restorer(fail_at: int) -> RecordingRestorer:
    """Return a restorer that fails in a network pass, hence at that frame."""

    def before_pass(n: int) -> None:
        if n == fail_at:
            raise RuntimeError("a fault")

    return identity_restorer(before_pass=before_pass)


@pytest.mark.parametrize(("signum", "suffix"), [(signal.SIGINT, ".mp4"), (signal.SIGTERM, ".mkv")])
def test_the_same_command_goes_on_after_a_signal(
    tmp_path: Path, vrt: VrtRestore, signum: signal.Signals, suffix: str
) -> None:
    """SIGINT waits for the end of 16 windows of one frame, SIGTERM does not."""
    clip = make_video(tmp_path / "in.mp4", codec="libx264", num_frames=60, audio=True, size=SIZE)
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"
    process = start(clip, "-o", out, pause_at=20)
    messages = stop(process, signum)
    assert process.returncode == 128 + signum, messages
    num_finished = 32 if signum == signal.SIGINT else 20
    assert f"stopped: {num_finished} frames are in {out}.vrt; the same command goes on" in messages
    assert not out.exists()
    part = tmp_path / f"out.part{suffix}"
    assert vrt.run("join", f"{out}.vrt").exit_code == 0
    assert len(read_planes(part)) == num_finished
    sound = [float(seconds) for seconds, _ in read_packets(part)]
    assert num_finished / 25 - 0.1 < max(sound) < num_finished / 25  # it ends with the video
    passes: list[int] = []
    result = vrt(clip, "-o", out, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 0, result.stderr
    assert f"going on after {num_finished} finished frames" in result.stderr
    assert len(passes) == 60 - num_finished
    assert vrt(clip, "-o", whole).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.mp4", out.name, part.name, whole.name])


def test_a_signal_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    clip, out = make_video(tmp_path / "in.mp4", codec="libx264"), tmp_path / "out.mp4"
    process = start(clip, "-o", out, pause_at=0)
    messages = stop(process, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped: nothing was written" in messages
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_same_command_goes_on_after_a_kill(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=130, size=SIZE)
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"
    process = start(clip, "-o", out, "--preset", "ultrafast", pause_at=120)
    process.kill()
    process.communicate()
    assert not out.exists()
    passes: list[int] = []
    assert (
        vrt(clip, "-o", out, "--preset", "ultrafast", restorer=identity_restorer(before_pass=passes.append)).exit_code
        == 0
    )
    assert 10 <= len(passes) <= 130 - 64  # up to 32 frames wait for the encoder, so up to three segments
    assert vrt(clip, "-o", whole, "--preset", "ultrafast").exit_code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_pipes_leave_a_playable_part(tmp_path: Path) -> None:
    """An input that cannot be read again is restored in one pass."""
    clip = make_video(tmp_path / "in.y4m", codec="wrapped_avframe", num_frames=130)
    out, part = tmp_path / "out.mkv", tmp_path / "out.part.mkv"
    command = [sys.executable, "-m", "tests.cli.identity_vrt", "-1", "restore", "-", "-o", str(out), "--codec", "ffv1"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    data = clip.read_bytes()
    process.stdin.write(data[: len(data) * 9 // 10])  # it waits for the rest
    process.stdin.flush()
    while not part.exists() or part.stat().st_size < 20_000:  # a dozen frames
        assert process.poll() is None
    process.kill()
    process.communicate()
    reader = VideoReader(part)
    assert sum(1 for _ in reader.frames(lambda packet: None)) > 0
    reader.close()


def test_a_failure_keeps_what_was_finished(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", audio=True), tmp_path / "out.mp4"
    result = vrt(clip, "-o", out, restorer=failing_restorer(7))
    assert isinstance(result.exception, RuntimeError)  # a fault of the program, hence with its traceback
    assert f"failed: 7 frames are in {out}.vrt" in result.stderr
    assert vrt.run("join", f"{out}.vrt", "-o", tmp_path / "some.mp4").exit_code == 0
    assert len(read_planes(tmp_path / "some.mp4")) == 7


def test_a_failure_before_the_first_frame_leaves_nothing(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    vrt(clip, "-o", out, restorer=failing_restorer(0))
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_damaged_input(tmp_path: Path, vrt: VrtRestore) -> None:
    """The frames before the end of a truncated file are restored; the exit code tells that there should be more."""
    whole = make_video(tmp_path / "whole.mkv", codec="libx264", num_frames=100)
    clip, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    clip.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = vrt(clip, "-o", out)
    assert result.exit_code == 3, result.stderr
    num_frames = len(read_planes(out))
    assert 20 < num_frames < 80
    assert re.search(rf"damaged input: {100 - num_frames}|{99 - num_frames} frames", result.stderr)
    assert "should follow: the file ends before its announced length" in result.stderr


def test_strict_stops_at_damage(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = overwrite(make_video(tmp_path / "whole.mkv", num_frames=20), tmp_path / "in.mkv", [15])
    result = vrt(clip, "-o", tmp_path / "out.mkv", "--strict")
    assert result.exit_code == 1
    assert "in.mkv is damaged: 1 frame (from 0.600 s on) cannot be decoded" in result.stderr
    assert "failed: 15 frames are in" in result.stderr
    assert vrt.run("join", tmp_path / "out.mkv.vrt").exit_code == 0
    assert len(read_planes(tmp_path / "out.part.mkv")) == 15
    result = vrt(clip, "-o", tmp_path / "all.mkv", "--quiet")
    assert result.exit_code == 3
    assert "damaged input: 5 frames (from 0.600 s on) cannot be decoded: the frame before is repeated" in result.stderr
    assert len(read_planes(tmp_path / "all.mkv")) == 20


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Python's own handler of SIGINT, which a shell replaces in background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_sigint")
def test_a_patient_job_stops_at_once_at_the_second_signal() -> None:
    with Interrupt(patient=True) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        interrupt.raise_if_cancelled()
        with pytest.raises(Cancelled, match="SIGINT"):
            interrupt.raise_if_requested()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Cancelled, match="SIGINT"):
            interrupt.raise_if_cancelled()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


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
