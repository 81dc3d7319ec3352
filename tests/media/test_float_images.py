"""Floating-point images, EXR and TIFF: values come in and go out as they are, beyond black and white too."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.helpers.image_files import noise_16_bit, write_image_file
from vrt_media.clip import MediaError
from vrt_media.image_writer import ImageWriter, SingleImageWriter, encode_image
from vrt_media.images import ImageReader

H, W = 6, 9


def values(n: int, channels: int = 3) -> np.ndarray:
    """Return values from -1 to 3, (channels, H, W), float32, that 16 bits cannot hold."""
    return (4 * np.random.default_rng(n).random((channels, H, W)) - 1).astype(np.float32)


def write_exr(path: Path, samples: np.ndarray, pix_fmt: str, **options: str) -> Path:
    """Write (channels, H, W) by libav alone."""
    frame = av.VideoFrame(W, H, pix_fmt)
    for component, plane_values in zip(frame.format.components, samples, strict=True):
        plane = frame.planes[component.plane]
        rows = np.zeros((plane.buffer_size // plane.line_size, plane.line_size // 4), np.float32)
        rows[:H, :W] = plane_values
        plane.update(rows.tobytes())
    encoder = av.CodecContext.create("exr", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = W, H, pix_fmt, Fraction(1)
    encoder.options = options
    frame.pts = 0
    path.write_bytes(b"".join(bytes(p) for p in (*encoder.encode(frame), *encoder.encode(None))))
    return path


def write_tiff(path: Path, samples: np.ndarray, kind: str) -> Path:
    """Write (channels, H, W) as floating-point numbers of a dtype, in one strip."""
    channels, bits = len(samples), 8 * np.dtype(kind).itemsize
    data = np.ascontiguousarray(samples.transpose(1, 2, 0)).astype(kind).tobytes()
    bits_at = 8 + 2 + 12 * 10 + 4
    formats_at, data_at = bits_at + 8, bits_at + 16
    entries = [(256, 4, 1, W), (257, 4, 1, H), (258, 3, channels, bits_at), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, data_at), (277, 3, 1, channels), (278, 4, 1, H), (279, 4, 1, len(data))]
    entries += [(339, 3, channels, formats_at)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    numbers = struct.pack("<I4H4H", 0, *[bits] * 4, *[3] * 4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + numbers + data)
    return path


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the first frame, (3, H, W), and the notes."""
    notes: list[str] = []
    reader = ImageReader(path, rate=Fraction(24), on_note=notes.append)
    return next(iter(reader.frames(lambda packet: None))).rgb.numpy(), notes


@pytest.mark.parametrize("options", [{}, {"compression": "zip16"}, {"compression": "rle"}])
def test_exr_is_read_as_it_is(tmp_path: Path, options: dict[str, str]) -> None:
    rgb, notes = read(write_exr(tmp_path / "in.exr", values(0), "gbrpf32le", **options))
    assert rgb.dtype == np.float32
    assert np.array_equal(rgb, values(0))
    assert "its light is linear" in notes[0]


def test_half_floats_grey_and_alpha(tmp_path: Path) -> None:
    rounded = values(0).astype(np.float16).astype(np.float32)
    assert np.array_equal(read(write_exr(tmp_path / "half.exr", rounded, "gbrpf32le", format="half"))[0], rounded)
    grey, _ = read(write_exr(tmp_path / "grey.exr", values(0, 1), "grayf32le"))
    assert np.array_equal(grey, values(0, 1).repeat(3, 0))
    rgba, notes = read(write_exr(tmp_path / "rgba.exr", values(0, 4), "gbrapf32le"))
    assert np.array_equal(rgba, values(0, 4)[:3])
    assert any("alpha channel is left out" in note for note in notes)


@pytest.mark.parametrize("channels", [3, 4])
def test_float_tiff_is_read_as_it_is(tmp_path: Path, channels: int) -> None:
    rgb, notes = read(write_tiff(tmp_path / "in.tif", values(0, channels), "<f4"))
    assert np.array_equal(rgb, values(0, channels)[:3])
    assert not any("linear" in note for note in notes)


def test_tiff_of_half_floats_is_refused(tmp_path: Path) -> None:
    """Libav reads the bits as whole numbers."""
    path = write_tiff(tmp_path / "in.tif", values(0), "<f2")
    with pytest.raises(MediaError, match=r"in\.tif: floating-point samples of 16 bits"):
        ImageReader(path, rate=Fraction(24))
    assert read(write_image_file(tmp_path / "whole.tif", noise_16_bit(0)))[0].shape == (3, 32, 40)


@pytest.mark.parametrize("length", [0, 3, 7, 9, 20, 100, 140, 200])
def test_tiff_that_is_cut_off_is_an_error_in_one_line(tmp_path: Path, length: int) -> None:
    path = write_tiff(tmp_path / "in.tif", values(0), "<f4")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(MediaError, match=r"in\.tif"):
        ImageReader(path, rate=Fraction(24))


def test_exr_is_written_as_it_is(tmp_path: Path) -> None:
    rgb = torch.from_numpy(values(0))
    single = SingleImageWriter(tmp_path / "out.exr", deep=False)
    single.write(rgb, 0)
    single.close()
    assert np.array_equal(read(tmp_path / "out.exr")[0], values(0))
    folder = ImageWriter(tmp_path / "out", names=iter(["a", "b"]), deep=True, suffix=".exr")
    for n in range(2):
        folder.write(torch.from_numpy(values(n)), n)
    folder.close()
    reader = ImageReader(tmp_path / "out", rate=Fraction(24))
    assert reader.names == ["a", "b"]
    assert all(np.array_equal(f.rgb.numpy(), values(n)) for n, f in enumerate(reader.frames(lambda packet: None)))


def test_other_images_are_clipped(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(encode_image(torch.from_numpy(values(0)), ".png", "rgb48be"))
    assert np.abs(read(tmp_path / "out.png")[0] - values(0).clip(0, 1)).max() <= 0.5 / 65535 + 1e-6
