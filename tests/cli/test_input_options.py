"""Options of `vrt restore` for what is read: a part of the picture."""

from pathlib import Path

import av
import pytest

from tests.helpers.image_files import noise_16_bit, read_image_file, write_image_file
from tests.helpers.video_files import make_video, read_planes
from tests.helpers.vrt_restore import VrtRestore


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
