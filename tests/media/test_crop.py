"""Parts of pictures: what is read, from videos and from images, and what is refused."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from tests.helpers.image_files import noise_16_bit, write_image_file
from tests.helpers.video_files import make_video
from vrt_media.clip import MediaError
from vrt_media.crop import Crop
from vrt_media.images import ImageReader
from vrt_media.reader import VideoReader


def read(clip: Path, crop: Crop | None) -> torch.Tensor:
    """Return all frames, (T, 3, H, W)."""
    with closing(VideoReader(clip, crop=crop)) as reader:
        frames = torch.stack([frame.rgb for frame in reader.frames(lambda packet: None)])
        assert frames.shape[2:] == (reader.info.height, reader.info.width)
    return frames


@pytest.mark.parametrize("text", ["20:10:4:6", "21:11:3:5", "64:48:0:0", "1:1:63:47"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_the_part_of_a_video_is_that_of_its_upright_frames(tmp_path: Path, text: str, rotation: int) -> None:
    size = (48, 64) if rotation == 0 else (64, 48)
    clip = make_video(tmp_path / "in.mp4", num_frames=3, codec="libx264", size=size, rotation=rotation)
    width, height, x, y = map(int, text.split(":"))
    whole = read(clip, None)
    assert whole.shape[2:] == (48, 64)
    assert torch.equal(read(clip, Crop.parse(text)), whole[:, :, y : y + height, x : x + width])


def test_without_offsets_the_part_is_in_the_middle(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=1)  # 64x48
    assert torch.equal(read(clip, Crop.parse("21:11")), read(clip, None)[:, :, 18:29, 21:42])


def test_the_matrix_of_an_untagged_file_is_that_of_the_whole_frame(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=1, size=(16, 1280), tags=None)
    with closing(VideoReader(clip, crop=Crop(64, 16, 0, 0))) as reader:
        assert reader.info.colour.matrix == 1


def test_the_part_of_images(tmp_path: Path) -> None:
    for n in range(2):
        write_image_file(tmp_path / f"{n}.png", noise_16_bit(n))
    reader = ImageReader(tmp_path, rate=Fraction(24), crop=Crop(7, 5, 3, 2))
    assert (reader.info.height, reader.info.width) == (5, 7)
    for n, frame in enumerate(reader.frames(lambda packet: None)):
        part = noise_16_bit(n)[2:7, 3:10]
        assert ((frame.rgb.movedim(0, 2) * 65535).round().numpy() == part).all()


@pytest.mark.parametrize("text", ["40:32:1:0", "40:32:0:1", "41:32", "40:33", "8:8:40:0"])
def test_a_part_outside_the_image_is_refused(tmp_path: Path, text: str) -> None:
    image = write_image_file(tmp_path / "in.png", noise_16_bit(0))
    with pytest.raises(MediaError, match=rf"in.png: crop {text} .* frames have 40x32 pixels"):
        ImageReader(image, rate=Fraction(24), crop=Crop.parse(text))
