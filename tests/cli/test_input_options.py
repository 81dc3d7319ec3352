"""Options of `vrt restore` for what is read: a part of the picture, fields."""

from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from tests.helpers.image_files import noise_16_bit, read_image_file, write_image_file
from tests.helpers.interlaced_files import picture_frame, woven_frames, write_frames
from tests.helpers.video_files import make_video, psnr, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore
from vrt_cli.main import app


def test_the_command_line_crops(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=3, pix_fmt="yuv444p", audio=True), tmp_path / "out.mkv"
    assert vrt(clip, "-o", out, "--codec", "ffv1", "--crop", "21:11:3:5").exit_code == 0
    for before, after in zip(read_planes(clip), read_planes(out), strict=True):
        assert all((a[5:16, 3:24] == b).all() for a, b in zip(before, after, strict=True))
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    image = write_image_file(tmp_path / "in.png", noise_16_bit(0))
    assert vrt(image, "-o", tmp_path / "out.png", "--crop", "8:6:1:1").exit_code == 0
    assert (read_image_file(tmp_path / "out.png") == noise_16_bit(0)[1:7, 1:9]).all()


@pytest.mark.parametrize("text", ["64:48:1:0", "64:48:0:1", "65:48", "64:49", "8:8:64:0"])
def test_a_part_outside_the_frame_is_refused(tmp_path: Path, vrt: VrtRestore, text: str) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=1)
    result = vrt(clip, "-o", tmp_path / "out.mkv", "--crop", text)
    assert result.exit_code == 1
    assert f"in.mkv: crop {text} (W:H:X:Y) reaches to column" in result.stderr
    assert "64x48 pixels" in result.stderr


@pytest.mark.parametrize(
    "text", ["", "8", "8:8:8", "8x8", "0:8:0:0", "8:0", "8:8:-1:0", "8:8:0:0:0", "a:b:c:d", "8.5:8"]
)
def test_what_is_no_part_is_a_usage_error(tmp_path: Path, vrt: VrtRestore, text: str) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=1)
    result = vrt(clip, "-o", tmp_path / "out.mkv", "--crop", text)
    assert result.exit_code == 2
    assert "--crop" in result.stderr


# --- fields ---


def test_interlaced_video_is_told_and_left_as_it_is(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = write_frames(tmp_path / "in.mkv", woven_frames("bottom")), tmp_path / "out.mkv"
    result = vrt(clip, "-o", out, "--codec", "ffv1")
    assert result.exit_code == 0
    note = " ".join(result.stderr.split())
    assert "in.mkv is interlaced (bottom field first in 12 of 12 frames looked at, which it does not state)" in note
    assert "see --deinterlace" in note
    for before, after in zip(read_planes(clip), read_planes(out), strict=True):
        assert (before[0] == after[0]).all()


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_interlaced_video_becomes_whole_frames(tmp_path: Path, vrt: VrtRestore, mode: str) -> None:
    clip, out = write_frames(tmp_path / "in.mkv", woven_frames("bottom")), tmp_path / "out.mkv"
    whole = write_frames(tmp_path / "whole.mkv", [picture_frame(2 * n) for n in range(12)])
    result = vrt(clip, "-o", out, "--codec", "ffv1", "--deinterlace", mode)
    assert result.exit_code == 0
    assert ("bottom field first" in result.stderr) == (mode == "auto")
    assert read_stamps(out) == read_stamps(clip)
    assert min(psnr(a, b) for a, b in zip(read_planes(out), read_planes(whole), strict=True)) > 36


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_progressive_video_stays_as_it_is(tmp_path: Path, vrt: VrtRestore, mode: str) -> None:
    frames = [picture_frame(n) for n in range(12)]
    clip, out = write_frames(tmp_path / "in.mkv", frames, flag="tff"), tmp_path / "out.mkv"
    result = vrt(clip, "-o", out, "--codec", "ffv1", "--deinterlace", mode)
    assert result.exit_code == 0
    assert "although it is flagged as interlaced): not deinterlaced" in " ".join(result.stderr.split())
    for before, after in zip(read_planes(clip), read_planes(out), strict=True):
        assert (before[0] == after[0]).all()


def test_images_are_not_deinterlaced(tmp_path: Path, vrt: VrtRestore) -> None:
    image = write_image_file(tmp_path / "in.png", noise_16_bit(0))
    result = vrt(image, "-o", tmp_path / "out.png", "--deinterlace", "on")
    assert result.exit_code == 2
    assert "--deinterlace" in result.stderr
    assert vrt(image, "-o", tmp_path / "out.png", "--deinterlace", "auto").exit_code == 0


def test_info_describes_fields(tmp_path: Path) -> None:
    interlaced = write_frames(tmp_path / "in.mkv", woven_frames("top"), flag="tff")
    assert "interlaced (top field first in 12 of 12" in CliRunner().invoke(app, ["info", str(interlaced)]).stdout
    progressive = write_frames(tmp_path / "p.mkv", [picture_frame(n) for n in range(12)])
    assert "fields" not in CliRunner().invoke(app, ["info", str(progressive)]).stdout
