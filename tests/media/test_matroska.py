"""Display size in the header of Matroska files: only the header changes, and other layouts are refused."""

import io
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import pytest

from tests.helpers.video_files import H, W, make_video, read_planes, read_stamps
from vrt_media.matroska import LayoutError, set_display_size
from vrt_media.timeline import as_fraction


def with_fonts(path: Path, num_bytes: int) -> Path:
    """Write 50 frames, chapters and an attachment, so that the header has many parts behind its tracks."""
    with (
        av.open(str(make_video(path.with_suffix(".v.mkv"), num_frames=50))) as source,
        av.open(str(path), "w") as target,
    ):
        copy = target.add_stream_from_template(source.streams.video[0], opaque=True)
        target.add_attachment("font.ttf", "font/ttf", bytes(num_bytes))
        chapters = [{"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {}}]
        target.set_chapters(cast(Any, chapters))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    return path


def aspect_of(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return as_fraction(container.streams.video[0].sample_aspect_ratio, Fraction(1))


@pytest.mark.parametrize("num_bytes", [100, 3 << 20])
@pytest.mark.parametrize("size", [(100, H), (W, 5000), (70000, 70000)])
def test_only_the_header_changes(tmp_path: Path, num_bytes: int, size: tuple[int, int]) -> None:
    path = with_fonts(tmp_path / "a.mkv", num_bytes)
    before, planes, stamps = path.read_bytes(), read_planes(path), read_stamps(path)
    with path.open("r+b") as file:
        set_display_size(file, *size)
    after = path.read_bytes()
    assert len(after) == len(before)
    attachments = bytes.fromhex("1941a469")
    behind = before.index(attachments, before.index(attachments) + 1)  # the first is in the list of parts
    assert after[behind:] == before[behind:]
    expected = Fraction(size[0] * H, size[1] * W)
    assert float(aspect_of(path)) == pytest.approx(float(expected), rel=0.01)
    assert [len(read_planes(path)), read_stamps(path)] == [len(planes), stamps]
    with av.open(str(path)) as container:
        assert container.chapters()
        assert container.streams.attachments[0].data == bytes(num_bytes)
        container.seek(1_500_000)
        assert next(container.decode(video=0)).time == pytest.approx(1.5, abs=0.5)


def checksums(data: bytes) -> list[bool]:
    """Return whether the checksums of the list of parts and of the tracks are right."""
    results = []
    for name, at in (("114d9b74", 0), ("1654ae6b", 0xD0)):
        begin = data.index(bytes.fromhex(name), at) + 4
        size_bytes = 9 - data[begin].bit_length()
        size = int.from_bytes(data[begin : begin + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
        content = data[begin + size_bytes : begin + size_bytes + size]
        assert content[:2] == b"\xbf\x84"
        results.append(zlib.crc32(content[6:]) == int.from_bytes(content[2:6], "little"))
    return results


def test_checksums_are_renewed(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", num_frames=2)
    assert checksums(path.read_bytes()) == [True, True], "those of libav"
    with path.open("r+b") as file:
        set_display_size(file, 70000, H)
    assert checksums(path.read_bytes()) == [True, True]


def test_it_can_be_set_again(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", num_frames=2)
    for width in (100, 20000, 100):
        with path.open("r+b") as file:
            set_display_size(file, width, H)
    assert aspect_of(path) == Fraction(100, W)


def layouts(data: bytes) -> dict[str, bytes]:
    """Return files that are no Matroska of libav's."""
    tracks = data.index(bytes.fromhex("1654ae6b"))
    return {
        "empty": b"",
        "zeros": bytes(5000),
        "noise": bytes(range(256)) * 8,
        "EBML only": data[:40],
        "no tracks": data[:tracks],
        "half the tracks": data[: tracks + 40],
        "no padding": data.replace(bytes.fromhex("ec01000000000000"), bytes.fromhex("ed01000000000000"), 1),
        "no video track": data.replace(bytes.fromhex("838101"), bytes.fromhex("838102"), 1),
    }


@pytest.mark.parametrize("kind", list(layouts(bytes.fromhex("1654ae6b"))))
def test_other_layouts_are_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    data = layouts(make_video(tmp_path / "a.mkv", num_frames=2).read_bytes())[kind]
    file = io.BytesIO(data)
    with pytest.raises(LayoutError):
        set_display_size(file, 100, H)
    assert file.getvalue() == data
