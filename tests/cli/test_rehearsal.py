"""Refusals come before the work: of containers, encoders, names and disks."""

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.identity import identity_restorer
from tests.helpers.sound_files import add_sound
from tests.helpers.video_files import make_video, needs_ffmpeg, read_packets, read_planes
from tests.helpers.vrt_restore import VrtRestore

PCM = ("pcm_s16le", "s16")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv"])
def test_aac_of_a_transport_stream(tmp_path: Path, vrt: VrtRestore, suffix: str) -> None:
    clip, out = add_sound(tmp_path / "in.ts", "aac", "fltp"), tmp_path / f"out{suffix}"
    assert vrt(clip, "-o", out).exit_code == 0
    with av.open(str(out)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 48000
    assert len(read_planes(out)) == 25
    assert len(read_packets(out)) == len(read_packets(clip))


@pytest.mark.parametrize(("suffix", "layout"), [(".avi", "stereo"), (".mkv", "stereo"), (".mkv", "5.1")])
def test_pcm_without_a_channel_layout(tmp_path: Path, vrt: VrtRestore, suffix: str, layout: str) -> None:
    clip, out = add_sound(tmp_path / f"in{suffix}", *PCM, layout=layout), tmp_path / "out.mp4"
    assert vrt(clip, "-o", out).exit_code == 0
    assert b"".join(data for _, data in read_packets(out)) == b"".join(data for _, data in read_packets(clip))


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["wmav1", "wmav2", "adpcm_ms", "adpcm_ima_wav", "gsm_ms", "pcm_alaw", "g723_1"])
def test_matroska_holds_the_sound_of_wav(tmp_path: Path, vrt: VrtRestore, codec: str) -> None:
    """Matroska has no name of its own for these codecs, but the tag that WAV has for them."""
    clip, out, sound = tmp_path / "in.mkv", tmp_path / "out.mkv", tmp_path / "sound.wav"
    tone = ["-f", "lavfi", "-t", "0.5", "-i", "sine=r=8000", "-ac", "1", "-c:a", codec]
    subprocess.run(["ffmpeg", "-v", "error", *tone, sound], check=True)
    video = ["-i", make_video(tmp_path / "v.mkv"), "-i", sound, "-c", "copy"]
    subprocess.run(["ffmpeg", "-v", "error", *video, clip], check=True)
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "left out" not in result.stderr
    assert [data for _, data in read_packets(out)] == [data for _, data in read_packets(clip)]
    samples = []
    for path in (clip, out):
        with av.open(str(path)) as container:
            samples.append(np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1))
    assert np.array_equal(*samples)


@needs_ffmpeg
def test_a_stream_that_the_muxer_refuses_is_left_out_with_its_reason(tmp_path: Path, vrt: VrtRestore) -> None:
    video, clip, out = make_video(tmp_path / "v.mkv"), tmp_path / "in.mkv", tmp_path / "out.mp4"
    sound = ["-f", "lavfi", "-t", "0.5", "-i", "sine", "-c:v", "copy", "-c:a", "truehd", "-strict", "-2"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", video, *sound, clip], check=True)
    out.write_bytes(b"old")
    result = vrt(clip, "-o", out, "-y")
    assert result.exit_code == 0
    assert "left out: audio stream 1 (truehd): .mp4 cannot hold it (truehd in MP4 support is exper" in result.stderr
    assert len(read_planes(out)) == 12


@pytest.mark.parametrize(
    ("output", "arguments", "message"),
    [
        ("out.gif", (), ".gif cannot hold what libx264 makes"),
        ("out.m3u8", (), "names no video container"),
        ("out_%d.dpx", (), "names no video container"),
        ("out.mkv", ("--codec-option", "profile=nonsense"), "profile"),
        ("out.mkv", ("--codec-option", "qp=abc"), "abc"),
    ],
)
def test_refusals_come_before_the_first_pass(
    tmp_path: Path, vrt: VrtRestore, output: str, arguments: tuple[str, ...], message: str
) -> None:
    clip, passes = make_video(tmp_path / "in.mkv", num_frames=2), []
    result = vrt(clip, "-o", tmp_path / output, *arguments, restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert passes == []
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_a_size_that_the_encoder_refuses(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, passes = make_video(tmp_path / "in.mkv", num_frames=1, size=(4, 4100)), []
    result = vrt(clip, "-o", tmp_path / "out.mkv", restorer=identity_restorer(scale=4, before_pass=passes.append))
    assert result.exit_code == 1
    assert "invalid width x height (16400x16)" in result.stderr
    assert passes == []


def test_y4m_files_are_written(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", audio=True), tmp_path / "out.y4m"
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "audio stream 1 (aac): .y4m cannot hold it" in result.stderr
    assert [planes[0].tolist() for planes in read_planes(out)] == [planes[0].tolist() for planes in read_planes(clip)]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # permissions do not bind root
    passes: list[int] = []
    restorer = identity_restorer(before_pass=passes.append)
    result = vrt(make_video(tmp_path / "in.mkv"), "-o", tmp_path / "out.mkv", restorer=restorer)
    assert result.exit_code == 1
    assert "out.mkv.vrt: Permission denied" in result.stderr
    assert passes == []


def test_a_link_that_leads_nowhere_is_there_already(tmp_path: Path, vrt: VrtRestore) -> None:
    out, target = tmp_path / "out.mkv", tmp_path / "elsewhere.mkv"
    out.symlink_to(target)
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    assert "is there already; -y replaces it" in vrt(clip, "-o", out).stderr
    assert vrt(clip, "-o", out, "-y").exit_code == 0
    assert not target.exists()
    assert len(read_planes(out)) == 2


@pytest.mark.parametrize("name", ["n" * 252 + ".mkv", "é" * 127 + ".mp4", "n" * 300 + ".png"])
def test_names_that_are_too_long(tmp_path: Path, vrt: VrtRestore, name: str) -> None:
    passes: list[int] = []
    restorer = identity_restorer(before_pass=passes.append)
    result = vrt(make_video(tmp_path / "in.mkv", num_frames=1), "-o", tmp_path / name, restorer=restorer)
    assert result.exit_code == 1
    assert "bytes, and file systems take 255" in result.stderr
    assert passes == []


@pytest.mark.parametrize(("output", "size"), [("out.y4m", "0.1 MB"), ("out.mkv", "0.1 MB"), ("out/", "0.1 MB")])
def test_a_disk_without_space_is_told_before(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, output: str, size: str
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    result = vrt(make_video(tmp_path / "in.mkv", num_frames=20), "-o", f"{tmp_path}/{output}")
    assert result.exit_code == 0
    assert f"0.0 MB are free in {tmp_path}, the output may take about {size}" in result.stderr


def test_sound_that_nobody_could_read_is_left_out(tmp_path: Path, vrt: VrtRestore) -> None:
    """Libav muxes any codec into MPEG-TS."""
    clip, out = add_sound(tmp_path / "in.mkv", *PCM), tmp_path / "out.ts"
    result = vrt(clip, "-o", out)
    assert result.exit_code == 0
    assert "left out: audio stream 1 (pcm_s16le): .ts cannot hold it" in result.stderr
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
