"""Standard input and output: y4m between programs."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.interlaced_files import picture_frame, woven_frames, write_frames
from tests.helpers.video_files import make_video, needs_ffmpeg, psnr, read_planes

ROOT = Path(__file__).parents[2]
IDENTITY_VRT = [sys.executable, "-m", "tests.cli.identity_vrt", "-1", "restore"]


@needs_ffmpeg
def test_between_two_programs(tmp_path: Path) -> None:
    pix_fmt = "yuv420p10le"
    clip, out = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt), tmp_path / "out.mkv"
    reader = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-i", clip, "-strict", "-1", "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE
    )
    middle = subprocess.Popen(
        [*IDENTITY_VRT, "-", "-o", "-", "--quiet"], cwd=ROOT, stdin=reader.stdout, stdout=subprocess.PIPE
    )
    writer = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "-", "-c:v", "ffv1", "-pix_fmt", pix_fmt, out], stdin=middle.stdout, check=True
    )
    assert [reader.wait(), middle.wait(), writer.returncode] == [0, 0, 0]
    before, after = read_planes(clip), read_planes(out)
    assert len(after) == 12
    for a, b in zip(before, after, strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_file_to_standard_output(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=3, audio=True)
    done = subprocess.run([*IDENTITY_VRT, clip, "-o", "-"], cwd=ROOT, capture_output=True, check=True)
    header, _, rest = done.stdout.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 W64 H48 F25:1")
    assert b"C420" in header
    assert len(rest) == 3 * (6 + 64 * 48 * 3 // 2)  # nothing but frames
    assert b"audio stream 1 (aac): a y4m pipe cannot hold it" in done.stderr
    assert b"3 frames" in done.stderr


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=200)
    middle = subprocess.Popen(
        [*IDENTITY_VRT, clip, "-o", "-", "--quiet"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert middle.stdout is not None
    middle.stdout.read(20000)
    middle.stdout.close()
    assert middle.stderr is not None
    messages = middle.stderr.read().decode()
    assert middle.wait(timeout=120) == 1
    assert "Traceback" not in messages
    assert "Broken pipe" in messages


def test_nothing_on_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [*IDENTITY_VRT, "-", "-o", tmp_path / "o.mkv"], cwd=ROOT, input=b"", capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"vrt: ")
    assert done.stderr.count(b"\n") == 1


@needs_ffmpeg
def test_the_flags_of_a_pipe_decide_what_is_deinterlaced(tmp_path: Path) -> None:
    clip, out = write_frames(tmp_path / "in.mkv", woven_frames("bottom"), flag="bff"), tmp_path / "out.mkv"
    reader = subprocess.Popen(["ffmpeg", "-v", "error", "-i", clip, "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
    command = [*IDENTITY_VRT, "-", "-o", out, "--codec", "ffv1", "--deinterlace", "auto"]
    subprocess.run(command, cwd=ROOT, stdin=reader.stdout, check=True, capture_output=True)
    assert reader.wait() == 0
    whole = write_frames(tmp_path / "whole.mkv", [picture_frame(2 * n) for n in range(12)])
    assert min(psnr(a, b) for a, b in zip(read_planes(out), read_planes(whole), strict=True)) > 36
