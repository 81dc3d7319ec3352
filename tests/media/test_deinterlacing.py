"""Interlaced video: what is measured of its fields, and the whole frames that come of them."""

import functools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.helpers.damaged_files import lose
from tests.helpers.interlaced_files import picture_frame, weave, woven_frames, write_frames
from tests.helpers.video_files import H, W, make_video, picture
from vrt_media.clip import MediaError
from vrt_media.colour import colour_of
from vrt_media.deinterlacing import Deinterlace, Fields, choose_fields, deinterlace, describe_fields
from vrt_media.interlacing import FieldStatistics, measure_fields
from vrt_media.planes import read_rgb
from vrt_media.reader import Trim, VideoReader


def read(path: Path, fields: Fields | None, trim: Trim | None = None) -> tuple[torch.Tensor, list[Any], dict[str, int]]:
    """Return frames, (T, 3, H, W), time stamps, and damage."""
    with closing(VideoReader(path, trim, fields=fields, on_note=lambda note: None)) as reader:
        frames = list(reader.frames(lambda packet: None))
        return torch.stack([f.rgb for f in frames]), [f.pts for f in frames], reader.damage.counts


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


# --- measurement ---


@pytest.mark.parametrize("order", ["top", "bottom"])
@pytest.mark.parametrize("flag", [None, "tff", "prog"])
def test_fields_are_measured_whatever_the_flags_say(tmp_path: Path, order: str, flag: str | None) -> None:
    statistics = measure_fields(write_frames(tmp_path / "in.mkv", woven_frames(order), flag=flag))
    assert (statistics.order, statistics.is_interlaced) == (order, True)
    assert statistics.is_flagged == (flag == "tff")
    assert not statistics.is_telecined
    assert describe_fields(statistics).startswith(f"interlaced ({order} field first in 12 of 12 frames looked at")
    assert ("does not state" in describe_fields(statistics)) == (flag != "tff")


@pytest.mark.parametrize("flag", [None, "tff"])
def test_whole_pictures_are_progressive_whatever_the_flags_say(tmp_path: Path, flag: str | None) -> None:
    frames = [picture_frame(n) for n in range(12)]
    statistics = measure_fields(write_frames(tmp_path / "in.mkv", frames, flag=flag))
    assert statistics.is_interlaced is False
    assert ("flagged as interlaced" in describe_fields(statistics)) == (flag == "tff")


def test_time_codes_of_mpeg2_are_no_obstacle(tmp_path: Path) -> None:
    """Frames beside keyframes have them; here one of these is the last that is looked at."""
    clip = make_video(tmp_path / "in.mpg", codec="mpeg2video", num_frames=300, options={"g": "10"})
    assert measure_fields(clip).num_frames == 4 * 30


def test_still_pictures_tell_nothing(tmp_path: Path) -> None:
    frames = [picture_frame(0) for _ in range(12)]
    assert measure_fields(write_frames(tmp_path / "in.mkv", frames)).is_interlaced is None
    flagged = measure_fields(write_frames(tmp_path / "flagged.mkv", frames, flag="tff"))
    assert flagged.is_doubtful
    assert "flagged as interlaced (0 of 12" in describe_fields(flagged)


def test_telecined_film_is_recognised(tmp_path: Path) -> None:
    """3:2 pulldown: the fields of pictures A B C D become frames AA BB BC CD DD."""
    film = [picture_frame(2 * n) for n in range(20)]
    frames = [
        weave(film[4 * k + a], film[4 * k + b], "top")
        for k in range(5)
        for a, b in ((0, 0), (1, 1), (1, 2), (2, 3), (3, 3))
    ]
    statistics = measure_fields(write_frames(tmp_path / "in.mkv", frames))
    assert statistics.is_telecined
    assert "telecined film" in describe_fields(statistics)


def test_long_files_are_looked_at_in_several_places(tmp_path: Path) -> None:
    frames = [picture_frame(0)] * 150 + woven_frames("top", 150)
    statistics = measure_fields(write_frames(tmp_path / "in.mkv", frames))
    assert statistics.num_frames == 120
    assert statistics.order == "top"


def test_frames_beyond_every_interlaced_format_are_not_decoded(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=1, size=(1160, 16))
    assert measure_fields(clip) == FieldStatistics()


# --- choice ---

INTERLACED = FieldStatistics(num_frames=20, num_flagged=20, num_bottom=18, num_progressive=1)
PROGRESSIVE = FieldStatistics(num_frames=20, num_progressive=20)
MISFLAGGED = FieldStatistics(num_frames=20, num_flagged=20, num_progressive=20)
STILL = FieldStatistics(num_frames=20)
STILL_FLAGGED = FieldStatistics(num_frames=20, num_flagged=20)


@pytest.mark.parametrize(
    ("statistics", "mode", "fields", "word"),
    [
        (INTERLACED, "off", "none", "whole frames only"),
        (INTERLACED, "on", "bottom", ""),
        (INTERLACED, "auto", "bottom", "deinterlaced"),
        (PROGRESSIVE, "off", "none", ""),
        (PROGRESSIVE, "on", "all", "progressive"),
        (PROGRESSIVE, "auto", "none", ""),
        (MISFLAGGED, "off", "none", "flagged as interlaced): not deinterlaced"),
        (MISFLAGGED, "auto", "none", "not deinterlaced"),
        (STILL, "off", "none", ""),
        (STILL, "on", "all", ""),
        (STILL, "auto", "flagged", ""),
        (STILL_FLAGGED, "off", "none", "flagged as interlaced"),
    ],
)
def test_choice(statistics: FieldStatistics, mode: Deinterlace, fields: Fields, word: str) -> None:
    chosen, note = choose_fields(mode, statistics)
    assert chosen == fields
    assert (word in note) if word else note == ""


# --- deinterlacing ---


@pytest.mark.parametrize("order", ["top", "bottom"])
def test_whole_frames_are_those_at_the_time_of_the_first_field(tmp_path: Path, order: Fields) -> None:
    """Measured: 41.1 dB, chroma included; 29.6 dB as they are, 26.7 dB by the wrong field."""
    woven = write_frames(tmp_path / "in.mkv", woven_frames(order))
    progressive = write_frames(tmp_path / "whole.mkv", [picture_frame(2 * n) for n in range(12)])
    expected, stamps, _ = read(progressive, "none")
    frames, stamps_out, _ = read(woven, order)
    assert stamps_out == stamps
    assert psnr(frames, expected) > 40
    assert min(psnr(frames[n], expected[n]) for n in range(12)) > 38
    assert psnr(read(woven, "none")[0], expected) < 31


def test_flags_decide_where_nothing_else_is_known(tmp_path: Path) -> None:
    woven = woven_frames("bottom")
    frames = [woven[n] if n < 6 else picture_frame(2 * n) for n in range(12)]
    flagged, plain = (write_frames(tmp_path / f"{flag}.mkv", frames, flag=flag) for flag in ("bff", "prog"))
    assert torch.equal(read(flagged, "flagged")[0], read(flagged, "bottom")[0])
    assert torch.equal(read(flagged, "all")[0], read(flagged, "bottom")[0])
    assert torch.equal(read(plain, "flagged")[0], read(plain, "none")[0])
    assert torch.equal(read(plain, "all")[0], read(plain, "top")[0])


def test_a_frame_depends_on_its_neighbours_alone(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "in.mkv", woven_frames("top"))
    whole = read(path, "top")[0]
    assert torch.equal(read(path, "top")[0], whole)
    for start, length in ((0, 5), (3, 4), (11, 1), (5, 7)):
        part, stamps, _ = read(path, "top", Trim(start_frame=start, max_frames=length))
        assert torch.equal(part, whole[start : start + length])
        assert stamps == [40 * n for n in range(length)]


def test_stamps_and_damage_are_those_of_the_file(tmp_path: Path) -> None:
    stamps = [0, 1, 2, 5, 6, 7, 20, 21, 22, 23, 24, 25]
    path = write_frames(tmp_path / "in.mkv", woven_frames("top"), stamps=stamps)
    assert read(path, "top")[1:] == read(path, "none")[1:]
    assert read(path, "top")[1] == [40 * n for n in stamps]
    mpeg2 = make_video(tmp_path / "whole.mkv", codec="mpeg2video", num_frames=20)
    lost = lose(mpeg2, tmp_path / "lost.mkv", [7, 12])
    assert read(lost, "top")[1:] == read(lost, "none")[1:]


def test_all_frames_before_an_error_come_out() -> None:
    def items() -> Iterator[tuple[av.VideoFrame, int | None]]:
        yield from ((frame, 7 * n) for n, frame in enumerate(woven_frames("top", 5)))
        raise MediaError("the rest is missing")

    outputs = deinterlace(items(), "top")
    assert [next(outputs)[1] for _ in range(5)] == [0, 7, 14, 21, 28]
    with pytest.raises(MediaError, match="the rest"):
        next(outputs)


def test_frames_that_are_repeated_or_change_their_size_keep_their_places() -> None:
    large = [picture_frame(n, make=functools.partial(picture, height=64, width=80)) for n in range(3)]
    small = woven_frames("top", 3)
    frames = [small[0], small[1], small[1], small[1], *large, small[2]]
    outputs = list(deinterlace(((frame, n) for n, frame in enumerate(frames)), "top"))
    assert [pts for _, pts in outputs] == list(range(8))
    assert [frame.width for frame, _ in outputs] == [W] * 4 + [80] * 3 + [W]


FORMATS = (
    "yuv420p yuvj420p yuv422p yuv444p yuv440p yuv411p yuv410p yuv420p10le yuv422p10le yuv444p12le nv12 nv21 p010le "
    "yuyv422 uyvy422 gray gray16le rgb24 bgr24 bgra rgb48le gbrp gbrp10le yuva420p"
)


@pytest.mark.parametrize("pix_fmt", FORMATS.split())
def test_still_pictures_stay_as_they_are_in_every_format(pix_fmt: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)
    frame = picture_frame(0, pix_fmt, make=lambda n: noise)
    expected = read_rgb(frame, colour_of(frame))
    outputs = list(deinterlace([(frame, n) for n in range(6)], "top"))
    assert len(outputs) == 6
    for output, _ in outputs[1:-1]:  # the first and the last lack a neighbour
        assert colour_of(output) == colour_of(frame)
        assert torch.equal(read_rgb(output, colour_of(output)), expected)


def test_formats_that_cannot_be_deinterlaced_are_named(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "in.mkv", [picture_frame(0, "gray10le")] * 2)
    with pytest.raises(MediaError, match="gray10le cannot be deinterlaced"):
        VideoReader(path, fields="top")


@pytest.mark.parametrize(("codec", "pix_fmt"), [("rawvideo", "yuyv422"), ("png", "rgb24")])
def test_rotation_is_kept(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    frames = [picture_frame(0, pix_fmt) for _ in range(4)]
    path = write_frames(tmp_path / "in.mov", frames, codec=codec, rotation=90)
    plain, whole = read(path, "none")[0], read(path, "top")[0]
    assert plain.shape[2:] == (W, H)
    assert torch.equal(plain[1:-1], whole[1:-1])
