"""`vrt restore` on video files, with a restorer that returns its input: differences are due to the command line."""

import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from typer.testing import Result

from tests.helpers.identity import identity_restorer
from tests.helpers.video_files import (
    H,
    W,
    make_video,
    picture,
    planes_of,
    psnr,
    read_packets,
    read_planes,
    read_stamps,
)
from tests.helpers.vrt_restore import VrtRestore
from vrt_jobs.pipeline import run
from vrt_jobs.prefetch import max_waiting_frames
from vrt_media.encoding import choose_pix_fmt
from vrt_media.reader import Trim, VideoReader
from vrt_media.timeline import as_fraction

LOSSLESS = ("--codec", "ffv1")


def first(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def stream_of(path: Path) -> tuple[str, Fraction | None, Fraction | None]:
    """Return codec, frames per second and sample aspect of the video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return (
            stream.codec_context.name,
            as_fraction(stream.average_rate, Fraction(0)),
            as_fraction(stream.sample_aspect_ratio, Fraction(1)),
        )


def ok(result: Result) -> Result:
    assert result.exit_code == 0, result.output + (result.stderr or "") + repr(result.exception)
    return result


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le", "yuv422p", "yuv420p", "yuv420p10le"])
def test_every_frame_comes_through(tmp_path: Path, vrt: VrtRestore, pix_fmt: str) -> None:
    clip, out = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt), tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out, *LOSSLESS))
    before, after = read_planes(clip), read_planes(out)
    assert len(after) == len(before) == 12
    assert first(out).format.name == pix_fmt
    for a, b in zip(before, after, strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))  # every code survives


def test_default_encoder(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    result = ok(vrt(clip, "-o", out))
    assert result.stdout == ""
    assert (stream_of(out)[0], first(out).format.name) == ("h264", "yuv420p")
    scores = [psnr(a, b) for a, b in zip(read_planes(clip), read_planes(out), strict=True)]
    assert min(scores) > 40, scores
    wrong_place = [psnr(a, b) for a, b in zip(read_planes(clip)[1:], read_planes(out), strict=False)]
    assert max(wrong_place) < 35  # so a shift by one frame would be noticed


@pytest.mark.parametrize(
    "tags", [(1, 1, 1, 1), (6, 1, 6, 6), (5, 2, 5, 6), (9, 1, 9, 16)], ids=["709", "601", "470bg-full", "2020-pq"]
)
@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
def test_colour_tags_are_kept(tmp_path: Path, vrt: VrtRestore, tags: tuple[int, int, int, int], codec: str) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=3, tags=tags), tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out, "--codec", codec))
    frame = first(out)
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == tags
    for a, b in zip(read_planes(clip), read_planes(out), strict=True):
        assert psnr(a, b) > 36


def test_untagged_input_is_tagged_with_what_it_was_read_as(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=2, tags=None), tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out))
    frame = first(out)
    assert (frame.colorspace, frame.color_range) == (6, 1)  # 64x48: BT.601
    assert (frame.color_primaries, frame.color_trc) == (2, 2)


def test_ten_bits_stay_ten_bits(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", pix_fmt="yuv420p10le"), tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out, "--crf", "4"))
    assert first(out).format.name == "yuv420p10le"
    scores = [psnr(a, b, 1023) for a, b in zip(read_planes(clip), read_planes(out), strict=True)]
    assert min(scores) > 52, scores  # 8 bits would end at 52 or so, before any encoder


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_variable_frame_rate(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    stamps = [0, 40, 80, 200, 240, 280, 290, 300, 420, 1000]
    clip = make_video(tmp_path / "in.mkv", num_frames=10, stamps=stamps, time_base=Fraction(1, 1000))
    out = tmp_path / f"out{suffix}"
    ok(vrt(clip, "-o", out))
    assert read_stamps(out) == read_stamps(clip) == [Fraction(s, 1000) for s in stamps]


def test_frame_rate_that_is_no_whole_number(tmp_path: Path, vrt: VrtRestore) -> None:
    rate = Fraction(24000, 1001)
    clip, out = make_video(tmp_path / "in.mp4", codec="libx264", rate=rate), tmp_path / "out.mp4"
    ok(vrt(clip, "-o", out))
    assert read_stamps(out) == [n / rate for n in range(12)]
    assert stream_of(out)[1] == rate


def test_interpolation_doubles_the_rate_not_the_length(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mp4", codec="libx264", audio=True), tmp_path / "out.mp4"
    ok(vrt(clip, "-o", out, restorer=identity_restorer(interpolates=True)))
    assert read_stamps(out) == [Fraction(n, 50) for n in range(24)]
    assert stream_of(out)[1] == 50
    assert read_packets(out) == read_packets(clip)


def test_enlarging_keeps_the_sample_aspect(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mp4", codec="libx264", num_frames=2, aspect=Fraction(16, 11))
    out = tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out, restorer=identity_restorer(scale=4)))
    frame = first(out)
    assert (frame.height, frame.width) == (4 * H, 4 * W)
    assert stream_of(out)[2] == Fraction(16, 11)


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_rotation_is_done_and_not_asked_for_again(tmp_path: Path, vrt: VrtRestore, degrees: int) -> None:
    """Rotation is counterclockwise, in the tag and in `np.rot90`."""
    clip = make_video(tmp_path / "in.mp4", num_frames=2, codec="libx264", pix_fmt="yuv444p", rotation=degrees)
    out = tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out, *LOSSLESS))
    frame = first(out)
    assert frame.rotation == 0
    turned = np.rot90(picture(0), degrees // 90)
    rgb = frame.reformat(format="rgb24").to_ndarray()
    assert rgb.shape == turned.shape
    assert np.abs(rgb.astype(int) - turned).mean() < 4


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (31, 33)])
def test_odd_sizes_keep_every_pixel(tmp_path: Path, vrt: VrtRestore, size: tuple[int, int]) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=2, size=size), tmp_path / "out.mp4"
    ok(vrt(clip, "-o", out))
    frame = first(out)
    assert (frame.height, frame.width) == size
    assert frame.format.name == "yuv444p"
    assert np.abs(frame.reformat(format="rgb24").to_ndarray().astype(int) - picture(0, *size)).mean() < 6


def test_pixel_formats() -> None:
    x264 = tuple(f.name for f in av.Codec("libx264", "w").video_formats or ())
    assert choose_pix_fmt(x264, "yuv422p", 48, 64) == "yuv422p"
    assert choose_pix_fmt(x264, "yuv422p", 47, 64) == "yuv422p"  # only the width is halved
    assert choose_pix_fmt(x264, "yuv420p12le", 48, 64) == "yuv420p10le"
    assert choose_pix_fmt(x264, "nv12", 48, 64) == "yuv420p"
    assert choose_pix_fmt(x264, "p010le", 48, 64) == "yuv420p10le"
    assert choose_pix_fmt(x264, "rgb24", 48, 64) == "yuv420p"
    assert choose_pix_fmt(x264, "rgb48be", 48, 63) == "yuv444p10le"
    assert choose_pix_fmt(("yuv422p10le", "yuv444p10le"), "yuv420p", 48, 64) == "yuv422p10le"  # prores
    assert choose_pix_fmt((), "yuv411p", 48, 64) == "yuv444p"


def test_audio_is_copied(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=30, audio=True), tmp_path / "out.mkv"
    ok(vrt(clip, "-o", out))
    assert len(read_packets(out)) > 40
    assert [data for _, data in read_packets(out)] == [data for _, data in read_packets(clip)]
    assert [t for t, _ in read_packets(out)] == pytest.approx([t for t, _ in read_packets(clip)], abs=0.0011)


def test_part_of_a_clip_with_its_audio(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mp4", num_frames=50, codec="libx264", audio=True), tmp_path / "out.mp4"
    ok(vrt(clip, "-o", out, "--start", "10", "--frames", "15", "--crf", "4"))
    before, after = read_planes(clip), read_planes(out)
    assert len(after) == 15
    assert min(psnr(a, b) for a, b in zip(before[10:25], after, strict=True)) > 40
    assert read_stamps(out) == [Fraction(n, 25) for n in range(15)]
    sound = {data: t for t, data in read_packets(clip)}
    packets = read_packets(out)
    assert all(abs(sound[data] - t - Fraction(10, 25)) < Fraction(1, 40) for t, data in packets)
    assert 0.6 - 0.03 < sum(1024 / 48000 for _ in packets) < 0.6 + 0.06


SRT = "1\n00:00:00,000 --> 00:00:00,300\nHello\n"


def with_subtitles(folder: Path) -> Path:
    """Write a clip with a subtitle stream in SRT and a second video stream."""
    (folder / "words.srt").write_text(SRT)
    video = make_video(folder / "video.mkv", audio=True)
    path = folder / "in.mkv"
    with av.open(str(video)) as a, av.open(str(folder / "words.srt")) as b, av.open(str(path), "w") as out:
        sources = [a.streams.video[0], a.streams.audio[0], b.streams.subtitles[0], a.streams.video[0]]
        targets = [out.add_stream_from_template(stream) for stream in sources]
        for target in targets[1:3]:
            target.metadata["language"] = "fin"
        out.metadata["title"] = "A small clip"
        for stream, target in zip(sources, targets, strict=True):
            source = av.open(str(folder / "words.srt")) if stream.type == "subtitle" else av.open(str(video))
            with source:
                for packet in source.demux(source.streams[stream.index]):
                    if packet.size:
                        packet.stream = target
                        out.mux(packet)
    return path


def test_subtitles_and_metadata(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = with_subtitles(tmp_path), tmp_path / "out.mkv"
    result = ok(vrt(clip, "-o", out))
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video", "audio", "subtitle"]
        assert [s.language for s in list(container.streams)[1:]] == ["fin", "fin"]
        assert container.metadata["title"] == "A small clip"
    assert read_packets(out, "subtitle") == [(0, b"Hello")]
    assert "left out: video stream 3" in result.stderr


def test_what_the_container_cannot_hold_is_named(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = with_subtitles(tmp_path), tmp_path / "out.mp4"
    result = ok(vrt(clip, "-o", out, "--quiet"))
    assert "subtitle stream 2 (srt): .mp4 cannot hold it" in result.stderr
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]


def test_cover_pictures_are_not_the_video(tmp_path: Path, vrt: VrtRestore) -> None:
    video = make_video(tmp_path / "video.mkv", num_frames=3, codec="libx264")
    clip = tmp_path / "in.mp4"
    with av.open(str(video)) as source, av.open(str(clip), "w") as target:
        cover = target.add_stream("png", rate=1)
        assert isinstance(cover, av.VideoStream)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = Disposition.attached_pic
        copy = target.add_stream_from_template(source.streams.video[0])
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        target.mux(cover.encode(frame) + cover.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    ok(vrt(clip, "-o", tmp_path / "out.mp4"))
    assert first(tmp_path / "out.mp4").width == W
    assert len(read_planes(tmp_path / "out.mp4")) == 3


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """No more frames are alive than those of two windows and those that wait before and behind the restorer."""
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    max_alive = 0

    class WatchedReader(VideoReader):
        def frames(self, on_packet, **options):
            nonlocal max_alive
            for frame in super().frames(on_packet, **options):
                alive.add(frame.rgb)
                max_alive = max(max_alive, len(alive))
                yield frame

    class NullWriter:
        num_frames, result = 0, None

        def write(self, rgb, pts):
            self.num_frames += 1

        def copy(self, packet): ...
        def cut_short(self): ...
        def close(self, *, complete=True): ...
        def discard(self): ...

    clip = make_video(tmp_path / "in.mkv", num_frames=300, size=(8, 8))
    assert run(WatchedReader(clip), identity_restorer(window=6), NullWriter) == 300
    assert max_alive <= 12 + 2 * max_waiting_frames(8, 8) + 4


def test_properties_of_a_clip(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mp4", codec="libx264", rotation=90, aspect=Fraction(4, 3), rate=Fraction(30))
    reader = VideoReader(clip, Trim(start_frame=2, max_frames=5))
    info = reader.info
    assert (info.height, info.width, info.num_frames, info.rate) == (W, H, 5, 30)
    assert info.sample_aspect == Fraction(3, 4)
    assert info.frame_duration * info.time_base == Fraction(1, 30)
    assert sum(1 for _ in reader.frames(lambda packet: None)) == 5
    reader.close()


def test_length_of_a_clip_that_does_not_say_how_many_frames(tmp_path: Path) -> None:
    """Matroska has no frame count, and at a variable rate the duration gives a wrong one."""
    clip = make_video(tmp_path / "in.mkv", num_frames=4, stamps=[0, 40, 1000, 5000], time_base=Fraction(1, 1000))
    for limit, expected in ((None, 4), (3, 3), (9, 4)):
        reader = VideoReader(clip, Trim(max_frames=limit))
        assert reader.info.num_frames == expected
        reader.close()


def test_webm_gets_what_it_can_hold(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=3, audio=True)
    result = ok(vrt(clip, "-o", tmp_path / "out.webm"))
    assert "audio stream 1 (aac): .webm cannot hold it" in result.stderr
    assert first(tmp_path / "out.webm").width == W
    with av.open(str(tmp_path / "out.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"


def test_interlaced_and_alpha_are_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2, pix_fmt="yuva420p")
    VideoReader(clip).close()
    assert "alpha channel is left out" in caplog.text
    assert planes_of(first(clip))[0].shape == (H, W)
