"""`vrt restore` on folders of images and single images."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import noise_16_bit, read_image_file, write_image_file
from tests.helpers.video_files import make_video, picture, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore
from vrt_media.image_writer import encode_image
from vrt_media.images import ImageReader, read_image


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("make", [picture, noise_16_bit], ids=["8 bits", "16 bits"])
def test_lossless_images_are_exact(
    tmp_path: Path, vrt: VrtRestore, suffix: str, make: Callable[[int], np.ndarray]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for n in range(12):
        write_image_file(folder / f"shot_{n}{suffix}", make(n))
    result = vrt(folder, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in out.iterdir()) == sorted(f"shot_{n}.png" for n in range(12))
    for n in range(12):  # natural order: shot_10 did not come after shot_1
        assert (read_image_file(out / f"shot_{n}.png") == make(n)).all(), n


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_other_kinds_are_read(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    codec, pix_fmt = {".jpg": ("mjpeg", "yuvj444p"), ".webp": ("libwebp", "bgra"), ".bmp": ("bmp", "bgr24")}[suffix]
    folder = tmp_path / "in"
    folder.mkdir()
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, pix_fmt, Fraction(1)
    encoder.options = {"q": "2"} if codec == "mjpeg" else {"quality": "95"} if codec == "libwebp" else {}
    frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
    frame = frame.reformat(format=pix_fmt, dst_colorspace=5 if codec == "mjpeg" else None)
    frame.pts = 0
    data = b"".join(bytes(p) for p in (*encoder.encode(frame), *encoder.encode(None)))
    (folder / f"a{suffix}").write_bytes(data)
    assert vrt(folder, "-o", tmp_path / "out").exit_code == 0
    assert np.abs(read_image_file(tmp_path / "out" / "a.png").astype(int) - picture(0)).mean() < 4


def test_grey_and_alpha(tmp_path: Path, vrt: VrtRestore) -> None:
    grey = np.repeat(noise_16_bit(0)[..., :1], 3, 2)
    write_image_file(tmp_path / "grey.png", grey, "gray16be")
    write_image_file(tmp_path / "clear.png", noise_16_bit(1), "rgba64be")
    for name, codes in (("grey", grey), ("clear", noise_16_bit(1))):
        assert vrt(tmp_path / f"{name}.png", "-o", tmp_path / f"{name}_out.png").exit_code == 0
        assert (read_image_file(tmp_path / f"{name}_out.png") == codes).all()


def test_one_image(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = write_image_file(tmp_path / "in.png", picture(3)), tmp_path / "out.tif"
    assert vrt(clip, "-o", out, restorer=identity_restorer(scale=2)).exit_code == 0
    assert (read_image_file(out) == picture(3).repeat(2, 0).repeat(2, 1)).all()


def test_video_to_images_and_back(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=4, pix_fmt="yuv444p")
    assert vrt(clip, "-o", tmp_path / "images").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == [f"{n:06d}.png" for n in range(4)]
    out = tmp_path / "out.mkv"
    result = vrt(tmp_path / "images", "-o", out, "--fps", "30000/1001", "--codec", "ffv1", "--pix-fmt", "yuv444p")
    assert result.exit_code == 0, result.stderr
    assert [float(s) for s in read_stamps(out)] == pytest.approx([n * 1001 / 30000 for n in range(4)], abs=0.001)
    with av.open(str(out)) as container:
        assert next(container.decode(video=0)).colorspace == 6  # 64x48: BT.601
    for a, b in zip(read_planes(clip), read_planes(out), strict=True):
        assert np.abs(a[0] - b[0]).mean() < 25  # BT.709 luma against BT.601: the same picture, other codes


def test_ten_bit_video_gives_sixteen_bit_images(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=1, pix_fmt="yuv420p10le")
    assert vrt(clip, "-o", f"{tmp_path}/images/").exit_code == 0
    assert read_image(tmp_path / "images" / "000000.png").format.name == "rgb48be"


def test_images_of_two_sizes(tmp_path: Path, vrt: VrtRestore) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_image_file(folder / "a.png", picture(0))
    write_image_file(folder / "b.png", picture(0, 40, 64))
    result = vrt(folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "b.png: 64x40 pixels, but a.png has 64x48" in result.stderr


def test_folders_are_not_written_over(tmp_path: Path, vrt: VrtRestore) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_image_file(folder / "a.png", picture(0))
    assert "is the input" in vrt(folder, "-o", folder).stderr
    assert "is the input" in vrt(folder, "-o", folder, "-y").stderr
    assert vrt(folder, "-o", tmp_path / "out").exit_code == 0
    assert "holds images already" in vrt(folder, "-o", tmp_path / "out").stderr
    assert vrt(folder, "-o", tmp_path / "out", "-y").exit_code == 0


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no images in it"), (b"not a png", "not an image that can be read")]
)
def test_folders_without_pictures(tmp_path: Path, vrt: VrtRestore, content: bytes | None, message: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if content:
        (folder / "a.png").write_bytes(content)
    result = vrt(folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_one_file_cannot_hold_two_frames(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    result = vrt(clip, "-o", tmp_path / "out.png")
    assert result.exit_code == 1
    assert "out.png can hold one frame, not 2" in result.stderr
    assert not (tmp_path / "out.png").exists()
    assert vrt(clip, "-o", tmp_path / "out.png", "--frames", "1").exit_code == 0


@pytest.mark.parametrize("first", [0, 1])
def test_a_folder_of_two_depths_loses_no_bits(tmp_path: Path, vrt: VrtRestore, first: int) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_image_file(folder / f"{first}.png", picture(0, 32, 40))
    write_image_file(folder / f"{1 - first}.tif", noise_16_bit(1))
    assert vrt(folder, "-o", out).exit_code == 0
    assert (read_image_file(out / f"{1 - first}.png") == noise_16_bit(1)).all()
    assert (read_image_file(out / f"{first}.png") == picture(0, 32, 40).astype(int) * 257).all()


def test_png_states_square_samples(tmp_path: Path, vrt: VrtRestore) -> None:
    write_image_file(tmp_path / "a.png", picture(0))
    assert vrt(tmp_path / "a.png", "-o", tmp_path / "b.png").exit_code == 0
    data = (tmp_path / "b.png").read_bytes()
    position = data.find(b"pHYs")
    if position >= 0:  # pixels per unit across and down
        assert data[position + 4 : position + 8] == data[position + 8 : position + 12] != bytes(4)


def test_what_is_left_out_of_images_is_told_once(tmp_path: Path, vrt: VrtRestore) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(3):
        write_image_file(folder / f"{n}.png", noise_16_bit(n), "rgba64be")
    page = write_image_file(folder / "3.tif", noise_16_bit(3))
    data = bytearray(page.read_bytes())
    offset = int.from_bytes(data[4:8], "little")
    end = offset + 2 + 12 * int.from_bytes(data[offset : offset + 2], "little")
    data[end : end + 4] = offset.to_bytes(4, "little")  # a second page
    page.write_bytes(data)
    result = vrt(folder, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr.count("its alpha channel is left out") == 1
    assert result.stderr.count("only the first of its pages is read") == 1


def test_a_folder_of_exr_becomes_one(tmp_path: Path, vrt: VrtRestore) -> None:
    folder, clips = tmp_path / "in", torch.rand(3, 3, 32, 40, generator=torch.Generator().manual_seed(0)) * 4 - 1
    folder.mkdir()
    for n, values in enumerate(clips):
        (folder / f"{n}.exr").write_bytes(encode_image(values, ".exr", "gbrpf32le"))
    result = vrt(folder, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "floating-point images" in result.stderr
    frames = ImageReader(tmp_path / "out", rate=Fraction(24)).frames(lambda packet: None)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["0.exr", "1.exr", "2.exr"]
    assert torch.equal(torch.stack([frame.rgb for frame in frames]), clips)


@pytest.mark.parametrize("image_format", ["png", "tif", "exr"])
def test_the_format_of_a_folder_can_be_chosen(tmp_path: Path, vrt: VrtRestore, image_format: str) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=2), tmp_path / "out"
    assert vrt(clip, "-o", out, "--image-format", image_format).exit_code == 0
    assert {path.suffix for path in out.iterdir()} == {f".{image_format}"}
    result = vrt(clip, "-o", tmp_path / "out.mkv", "--image-format", image_format)
    assert result.exit_code == 2
    assert "folder of images" in result.stderr


def test_exr_comes_through_unclipped(tmp_path: Path, vrt: VrtRestore) -> None:
    values = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(0)) * 4 - 1
    clip, out = tmp_path / "in.exr", tmp_path / "out.exr"
    clip.write_bytes(encode_image(values, ".exr", "gbrpf32le"))
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "its light is linear" in " ".join(result.stderr.split())
    (frame,) = ImageReader(out, rate=Fraction(24)).frames(lambda packet: None)
    assert torch.equal(frame.rgb, values)
    assert vrt(clip, "-o", tmp_path / "out.png").exit_code == 0
    assert vrt(clip, "-o", tmp_path / "out.mkv").exit_code == 0
