"""What a container holds beside frames and sound: flags, attachments, durations, sample aspect, mastering of HDR."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.stream import Disposition

from tests.helpers.sound_files import add_sound
from tests.helpers.video_files import W, make_video, read_packets, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore
from vrt_media.mastering import Mastering, mastering_of
from vrt_media.timeline import as_fraction

FLAGS = (Disposition(0), Disposition.default | Disposition.comment, Disposition.forced | Disposition.hearing_impaired)


def with_flags(folder: Path, suffix: str) -> Path:
    """Write a clip with a track of sound for each of `FLAGS`."""
    video, sound, path = (
        make_video(folder / "v.mkv"),
        add_sound(folder / "s.mkv", "aac", "fltp"),
        folder / f"in{suffix}",
    )
    with av.open(str(path), "w") as target, av.open(str(video)) as source:
        copy = target.add_stream_from_template(source.streams.video[0], opaque=True)
        files = [av.open(str(sound)) for _ in FLAGS]
        tracks = [target.add_stream_from_template(file.streams.audio[0]) for file in files]
        for track, flags in zip(tracks, FLAGS, strict=True):
            track.disposition = flags
        for stream, track in (
            (source.streams.video[0], copy),
            *zip([f.streams.audio[0] for f in files], tracks, strict=True),
        ):
            for packet in cast(InputContainer, stream.container).demux(stream):
                if packet.size:
                    packet.stream = track
                    target.mux(packet)
        for file in files:
            file.close()
    return path


def test_flags_of_tracks_are_kept(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = with_flags(tmp_path, ".mkv"), tmp_path / "out.mkv"
    assert vrt(clip, "-o", out).exit_code == 0
    with av.open(str(clip)) as before, av.open(str(out)) as after:
        flags = [stream.disposition for stream in after.streams.audio]
        assert flags == [stream.disposition for stream in before.streams.audio] == list(FLAGS)


def test_the_default_track_of_mp4(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = with_flags(tmp_path, ".mkv"), tmp_path / "out.mp4"
    assert vrt(clip, "-o", out).exit_code == 0
    with av.open(str(out)) as after:
        assert [bool(s.disposition & Disposition.default) for s in after.streams.audio] == [False, True, False]


def with_attachments(folder: Path) -> Path:
    path = folder / "in.mkv"
    picture = av.VideoFrame(16, 16, "yuvj420p")
    picture.save(folder / "cover.jpg")
    with av.open(str(make_video(folder / "v.mkv"))) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0], opaque=True)
        target.add_attachment("a font.ttf", "font/ttf", b"glyphs")
        target.add_attachment("cover.jpg", "image/jpeg", (folder / "cover.jpg").read_bytes())
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    return path


def test_attachments_are_copied(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = with_attachments(tmp_path), tmp_path / "out.mkv"
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "left out" not in result.stderr
    with av.open(str(out)) as container:
        (font,) = container.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("a font.ttf", "font/ttf", b"glyphs")
        (cover,) = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        packet = next(packet for packet in container.demux(cover) if packet.size)
        assert bytes(packet) == (tmp_path / "cover.jpg").read_bytes()


@pytest.mark.parametrize(("suffix", "left_out"), [(".mp4", [1]), (".mov", [1, 2]), (".avi", [1, 2]), (".y4m", [1, 2])])
def test_attachments_that_a_container_cannot_hold_are_named(
    tmp_path: Path, vrt: VrtRestore, suffix: str, left_out: list[int]
) -> None:
    result = vrt(with_attachments(tmp_path), "-o", tmp_path / f"out{suffix}")
    assert result.exit_code == 0
    for index, name in (1, "a font.ttf"), (2, "cover.jpg"):
        line = f"left out: attachment {index} ({name}): {suffix} cannot hold it"
        assert (line in result.stderr) == (index in left_out)


def cover_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        (cover,) = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        return bytes(next(packet for packet in container.demux(cover) if packet.size))


@pytest.mark.parametrize("suffixes", [".mkv .mp4", ".mp4 .mkv", ".mp4 .mp4 --codec libx265"])
def test_cover_pictures_go_from_container_to_container(tmp_path: Path, vrt: VrtRestore, suffixes: str) -> None:
    before, after, *arguments = suffixes.split()
    clip = with_attachments(tmp_path)
    if before == ".mp4":
        assert vrt(clip, "-o", clip.with_suffix(".mp4")).exit_code == 0
    out = tmp_path / f"out{after}"
    result = vrt(clip.with_suffix(before), "-o", out, *arguments)
    assert result.exit_code == 0
    left_out = [line for line in result.stderr.splitlines() if line.startswith("left out")]
    assert [line for line in left_out if "a font.ttf" not in line] == []
    assert cover_of(out) == (tmp_path / "cover.jpg").read_bytes()
    with av.open(str(out)) as container:
        assert len(container.streams.video) == 2
    assert read_stamps(out) == read_stamps(clip)
    assert container_of(out) == (12, 0.48)


def container_of(path: Path) -> tuple[int, float]:
    """Return the number of frames and the duration in seconds."""
    with av.open(str(path)) as container:
        return len(list(container.decode(container.streams.video[0]))), float(container.duration or 0) / av.time_base


def test_a_cover_that_is_no_picture_is_left_out(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = with_attachments(tmp_path)
    picture = (tmp_path / "cover.jpg").read_bytes()
    clip.write_bytes(clip.read_bytes().replace(picture, b"no picture".ljust(len(picture), b".")))
    out = tmp_path / "out.mp4"
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "left out: attachment 2 (cover.jpg): .mp4 cannot hold it" in result.stderr
    assert container_of(out) == (12, 0.48)


def test_the_video_that_is_flagged_as_default_is_restored(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    sources = [av.open(str(make_video(tmp_path / f"{n}.mkv", num_frames=n))) for n in (3, 5)]
    with av.open(str(clip), "w") as target:
        copies = [target.add_stream_from_template(source.streams.video[0], opaque=True) for source in sources]
        copies[0].disposition, copies[1].disposition = Disposition(0), Disposition.default
        for source, copy in zip(sources, copies, strict=True):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "left out: video stream 0" in result.stderr
    assert len(read_planes(out)) == 5


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize(("rate", "num_frames"), [(1, 8), (Fraction(1, 5), 8), (25, 25), (25, 26), (25, 51), (25, 52)])
def test_the_last_frame_is_within_the_duration(
    tmp_path: Path, vrt: VrtRestore, rate: Fraction, num_frames: int, suffix: str
) -> None:
    """The last fragment of the file may hold one packet, which with B-frames is not that of the last frame."""
    clip = make_video(tmp_path / "in.mkv", num_frames=num_frames, rate=Fraction(rate), size=(32, 48))
    out = tmp_path / f"out{suffix}"
    assert vrt(clip, "-o", out).exit_code == 0
    assert read_stamps(out) == [Fraction(n) / rate for n in range(num_frames)]
    with av.open(str(out)) as container:
        assert container.duration == num_frames / Fraction(rate) * av.time_base
        assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_last_frames_of_variable_rates_are_within_the_duration(
    tmp_path: Path, vrt: VrtRestore, suffix: str
) -> None:
    """With B-frames, the last frame in decoding order is not the last one shown."""
    stamps = [0, 40, 80, 120, 160, 1000, 2000, 5000]
    clip = make_video(tmp_path / "in.mkv", num_frames=8, stamps=stamps, time_base=Fraction(1, 1000))
    out = tmp_path / f"out{suffix}"
    assert vrt(clip, "-o", out).exit_code == 0
    assert read_stamps(out) == [Fraction(stamp, 1000) for stamp in stamps]
    with av.open(str(out)) as container:
        assert container.duration == 8 * av.time_base  # the last frame lasts as long as the one before


@pytest.mark.parametrize("num_frames", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_clips_of_few_frames_in_hevc(tmp_path: Path, vrt: VrtRestore, num_frames: int, suffix: str) -> None:
    """x265 gives decoding times out of memory that it has not set, for clips of one or two frames."""
    clip, out = make_video(tmp_path / "in.mkv", num_frames=num_frames), tmp_path / f"out{suffix}"
    for _ in range(3):
        assert vrt(clip, "-o", out, "-y", "--codec", "libx265").exit_code == 0
        assert read_stamps(out) == [Fraction(n, 25) for n in range(num_frames)]
        with av.open(str(out)) as container:
            assert container.duration == num_frames * av.time_base // 25
            stamps = [packet.dts for packet in container.demux() if packet.dts is not None]
            assert all(a < b for a, b in pairwise(stamps))


@pytest.mark.parametrize("codec", ["ffv1", "libsvtav1", "libvpx-vp9", "prores_ks"])
@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(8, 9)])
def test_matroska_keeps_the_sample_aspect(tmp_path: Path, vrt: VrtRestore, codec: str, aspect: Fraction) -> None:
    """These codecs do not state it; the container has the size of the picture, in whole pixels."""
    clip = make_video(tmp_path / "in.mp4", codec="libx264", num_frames=3, aspect=aspect, audio=True)
    out = tmp_path / "out.mkv"
    result = vrt(clip, "-o", out, "--codec", codec)
    assert result.exit_code == 0
    assert "aspect" not in result.stderr
    with av.open(str(out)) as container:
        stated = as_fraction(container.streams.video[0].sample_aspect_ratio, Fraction(1))
    assert stated == Fraction(round(W * aspect), W)
    assert read_stamps(out) == read_stamps(clip)
    assert [data for _, data in read_packets(out)] == [data for _, data in read_packets(clip)]


def test_a_container_that_does_not_state_the_sample_aspect(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mp4", codec="libx264", num_frames=2, aspect=Fraction(16, 11))
    result = vrt(clip, "-o", tmp_path / "out.avi", "--codec", "ffv1")
    assert result.exit_code == 0
    assert "left out: sample aspect 16/11: ffv1 in .avi does not state it" in result.stderr


MASTERING = Mastering(
    primaries=((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329)),
    luminance=(0.005, 1000.0),
    light_level=(1000, 400),
)


def with_mastering(path: Path) -> Path:
    options = MASTERING.add_to("libx265", {"x265-params": "log-level=none:hdr10=1"})
    return make_video(path, codec="libx265", pix_fmt="yuv420p10le", num_frames=3, tags=(9, 1, 9, 16), options=options)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_mastering_of_hdr10_is_kept(tmp_path: Path, vrt: VrtRestore, codec: str, suffix: str) -> None:
    clip, out = with_mastering(tmp_path / "in.mkv"), tmp_path / f"out{suffix}"
    result = vrt(clip, "-o", out, "--codec", codec)
    assert result.exit_code == 0
    assert "left out" not in result.stderr
    with av.open(str(out)) as container:
        mastering = mastering_of(next(container.decode(video=0)))
    assert mastering is not None
    assert np.abs(np.array(mastering.primaries) - np.array(MASTERING.primaries)).max() < 1e-4
    assert mastering.luminance == pytest.approx(MASTERING.luminance, abs=1e-3)
    assert mastering.light_level == MASTERING.light_level


@pytest.mark.parametrize(("output", "codec"), [("out.mkv", "ffv1"), ("out.y4m", "libx264")])
def test_an_encoder_that_cannot_hold_the_mastering(tmp_path: Path, vrt: VrtRestore, output: str, codec: str) -> None:
    result = vrt(with_mastering(tmp_path / "in.mkv"), "-o", tmp_path / output, "--codec", codec)
    assert result.exit_code == 0
    assert "left out: mastering display and light level of HDR10" in result.stderr
