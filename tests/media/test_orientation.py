"""Orientation that EXIF and display matrices ask for: all eight of them."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.helpers.video_files import make_video, picture
from vrt_media.images import ImageReader
from vrt_media.orientation import upright

EXIF = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}
"""What each value of EXIF's orientation asks for."""


def write_jpeg(path: Path, orientation: int) -> Path:
    frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24").reformat(format="yuvj444p", dst_colorspace=5)
    frame.save(path)
    data = path.read_bytes()
    tags = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + tags
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


@pytest.mark.parametrize("orientation", EXIF)
def test_photos_are_upright(tmp_path: Path, orientation: int) -> None:
    reader = ImageReader(write_jpeg(tmp_path / "a.jpg", orientation), rate=Fraction(1))
    (frame,) = reader.frames(lambda packet: None)
    expected = EXIF[orientation](picture(0).astype(int))
    assert frame.rgb.shape == (3, *expected.shape[:2]) == (3, reader.info.height, reader.info.width)
    assert np.abs(frame.rgb.movedim(0, 2).numpy() * 255 - expected).mean() < 4


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
def test_display_matrices(tmp_path: Path, degrees: int, hflip: bool) -> None:
    whole = make_video(tmp_path / "v.mp4", codec="libx264", num_frames=1, pix_fmt="yuv444p", options={"crf": "4"})
    with av.open(str(whole)) as source, av.open(str(tmp_path / "t.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(degrees, hflip=hflip)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(tmp_path / "t.mp4")) as container:
        frame = next(container.decode(video=0))
    rgb = torch.from_numpy(picture(0).astype(np.float32)).movedim(2, 0)
    expected = np.rot90(picture(0), degrees // 90)
    expected = np.fliplr(expected) if hflip else expected
    assert np.abs(upright(rgb, frame).movedim(0, 2).numpy() - expected).max() == 0
