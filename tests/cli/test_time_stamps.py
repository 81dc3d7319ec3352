"""Zero of time, joined recordings, parts and edit lists: sound stays beside its frames."""

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from tests.helpers.sound_files import add_sound
from tests.helpers.video_files import make_video, needs_ffmpeg, read_packets, read_planes, read_stamps
from tests.helpers.vrt_restore import VrtRestore


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


def make(path: Path, seconds: float, codecs: tuple[str, str], *options: str, rate: int = 24) -> Path:
    """Write a clip with sound by ffmpeg."""
    video = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}:d={seconds}"]
    ffmpeg(*video, "-f", "lavfi", "-i", f"sine=d={seconds}", "-c:v", codecs[0], "-c:a", codecs[1], *options, path)
    return path


def sound_after_video(path: Path) -> Fraction:
    """Return the time from the first frame to the first sound."""
    return read_packets(path)[0][0] - read_stamps(path)[0]


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("start", [0, 5, 40000])
def test_the_earliest_stamp_becomes_zero(tmp_path: Path, vrt: VrtRestore, suffix: str, start: int) -> None:
    clip = make(tmp_path / "in.ts", 1, ("libx264", "aac"), "-output_ts_offset", str(start))
    out = tmp_path / f"out{suffix}"
    assert vrt(clip, "-o", out).exit_code == 0
    assert min(read_stamps(out)[0], read_packets(out)[0][0]) == 0
    assert abs(sound_after_video(out) - sound_after_video(clip)) <= Fraction(1, 500)
    with av.open(str(out)) as container:
        assert 0.9 < float(Fraction(container.duration or 0, av.time_base)) < 1.2


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "video"), [(".ts", "libx264"), (".ts", "mpeg2video"), (".vob", "mpeg2video")])
def test_joined_recordings(tmp_path: Path, vrt: VrtRestore, suffix: str, video: str) -> None:
    parts = [
        make(tmp_path / f"{n}{suffix}", 2, (video, "ac3"), "-output_ts_offset", str(offset), "-bf", "2")
        for n, offset in enumerate((20, 7, 9000))
    ]
    clip, out = tmp_path / f"in{suffix}", tmp_path / "out.mkv"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = vrt(clip, "-o", out)
    assert result.exit_code in (0, 3)  # libav's parser may lose a frame of MPEG-2 at the joins
    stamps, sound = read_stamps(out), read_packets(out)
    assert len(stamps) >= 3 * 48 - 2
    assert len(sound) >= 3 * len(read_packets(parts[0])) - 2
    steps = [b - a for a, b in pairwise(stamps)]
    assert 0 < min(steps) <= max(steps) < Fraction(1, 4)
    for begin in (0, 2, 4):  # the sound of each part begins beside its first frame
        frame = min(stamps, key=lambda stamp: abs(stamp - begin))
        packet = min((time for time, _ in sound), key=lambda time: abs(time - frame))
        assert abs(packet - frame) < Fraction(1, 10)
    assert 5.9 < stamps[-1] < 6.4
    assert abs(sound[-1][0] - stamps[-1]) < Fraction(1, 5)


@needs_ffmpeg
@pytest.mark.parametrize("arguments", [("--frames", "24"), ("--start", "12", "--frames", "24")])
def test_a_part_of_a_stream_that_begins_late_has_its_sound(
    tmp_path: Path, vrt: VrtRestore, arguments: tuple[str, ...]
) -> None:
    clip = make(tmp_path / "in.ts", 2, ("libx264", "aac"), "-output_ts_offset", "5")
    out = tmp_path / "out.mkv"
    assert vrt(clip, "-o", out, *arguments).exit_code == 0
    assert len(read_planes(out)) == 24
    assert 40 <= len(read_packets(out)) <= 46  # a second of 44.1 kHz
    assert abs(sound_after_video(out)) < Fraction(1, 20)


def test_the_sound_of_a_part_ends_with_its_last_frame_at_variable_rates(tmp_path: Path, vrt: VrtRestore) -> None:
    stamps = [0, 40, 80, 400, 900, 940, 980]  # milliseconds
    video = make_video(tmp_path / "v.mkv", num_frames=7, stamps=stamps, time_base=Fraction(1, 1000))
    sound, clip, out = add_sound(tmp_path / "s.mkv", "aac", "fltp"), tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(video)) as a, av.open(str(sound)) as b, av.open(str(clip), "w") as target:
        sources = ((a, a.streams.video[0]), (b, b.streams.audio[0]))
        streams = [target.add_stream_from_template(stream, opaque=True) for _, stream in sources]
        for (source, stream), copy in zip(sources, streams, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
    assert vrt(clip, "-o", out, "--frames", "4").exit_code == 0
    assert read_stamps(out) == [Fraction(stamp, 1000) for stamp in stamps[:4]]
    last = read_packets(out)[-1][0]
    assert Fraction(65, 100) < last < Fraction(72, 100)  # the last frame lasts as long as the one before, 320 ms


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_what_an_edit_list_cuts_off_stays_away(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    whole, clip, out = tmp_path / "whole.mp4", tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    make(whole, 2, ("libx264", "aac"), "-g", "48")
    ffmpeg("-ss", "0.7", "-i", whole, "-c", "copy", clip)
    assert vrt(clip, "-o", out).exit_code == 0
    for path in (clip, out):
        ffmpeg("-i", path, "-map", "0:a", "-f", "wav", tmp_path / "sound.wav")
        with av.open(str(tmp_path / "sound.wav")) as container:
            assert 1.29 < sum(frame.samples for frame in container.decode(audio=0)) / 44100 < 1.36
    assert len(read_planes(out)) == 31


def samples_of(path: Path) -> dict[int, float]:
    """Return the first channel by the time of each sample after the first frame, in units of 1/48000 s."""
    samples: dict[int, float] = {}
    start = read_stamps(path)[0]
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            at = round(((frame.pts or 0) * frame.time_base - start) * 48000)
            samples |= {at + n: float(value) for n, value in enumerate(frame.to_ndarray()[0])}
    return samples


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["aac", "ac3", "libmp3lame"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts"])
def test_the_sound_of_a_part_is_whole_from_its_first_frame_on(
    tmp_path: Path, vrt: VrtRestore, codec: str, suffix: str
) -> None:
    """A decoder needs the packets before the cut: AAC one, MP3 four."""
    clip, out = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    video = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2", "-f", "lavfi"]
    sweep = "aevalsrc=exprs='sin(2*PI*(200+100*t)*t)':s=48000:d=2"
    ffmpeg(*video, "-i", sweep, "-c:v", "libx264", "-c:a", codec, clip)
    assert vrt(clip, "-o", out, "--start", "23").exit_code == 0
    whole, part = samples_of(clip), samples_of(out)
    offset = 23 * 48000 // 25
    differences = [abs(part[n] - whole[n + offset]) for n in range(4000)]
    assert max(differences) < 1e-3


SRT = "1\n00:00:00,100 --> 00:00:01,000\nFirst\n\n2\n00:00:01,500 --> 00:00:03,000\nSecond\n"


@needs_ffmpeg
def test_subtitles_that_span_a_cut_are_shortened(tmp_path: Path, vrt: VrtRestore) -> None:
    video, words, clip, out = (tmp_path / name for name in ("v.mkv", "words.srt", "in.mkv", "out.mkv"))
    make_video(video, num_frames=75)
    words.write_text(SRT)
    ffmpeg("-i", video, "-i", words, "-c", "copy", clip)
    assert vrt(clip, "-o", out, "--start", "15", "--frames", "35").exit_code == 0  # 0.6 s to 2 s
    with av.open(str(out)) as container:
        packets = [(p.pts, p.duration, bytes(p)) for p in container.demux(subtitles=0) if p.size]
    assert packets == [(0, 400, b"First"), (900, 500, b"Second")]


def test_a_damaged_packet_of_sound_does_not_end_the_job(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = add_sound(tmp_path / "in.ts", "aac", "fltp", seconds=2), tmp_path / "out.mp4"
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        positions = [packet.pos for packet in container.demux(audio=0) if packet.size and packet.pos]
    start = data.index(b"\xff\xf1", positions[20])  # an ADTS header
    data[start : start + 2] = b"\0\0"
    clip.write_bytes(data)
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert len(read_planes(out)) == 50
    assert len(read_packets(out)) > 80
