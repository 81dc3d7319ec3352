"""VRT Restore Video: equality with the command line, trims, rotation, sound, colour, cancelling, memory."""

import io
import random
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import comfy.model_management as mm
import numpy as np
import pytest
import torch
from av.audio.stream import AudioStream
from comfy_api.latest import InputImpl, Types
from typer.testing import CliRunner

from tests.helpers.live_bytes import LiveBytes
from tests.helpers.video_files import make_video, picture, read_packets, read_planes, read_stamps
from tests.nodes.fake import FakeComfyUI
from vrt_cli.main import app
from vrt_core import InputError
from vrt_nodes.video_node import RestoreVideo

FIELDS = {"sigma_255": -1.0, "factor": "2", "crf": 16.0, "cuts": "off"}
FIELDS |= dict.fromkeys(("window_frames", "overlap_frames", "tile_px", "tile_overlap_px"), -1)
H264 = {"codec": "libx264", "options": {"crf": "1"}, "size": (32, 48)}


def restore(model: Any, video: Any, **widgets: Any) -> Path:
    result = RestoreVideo.execute(model, video, **{**FIELDS, **widgets})[0]
    assert isinstance(result, InputImpl.VideoFromFile)
    return Path(result.get_stream_source())


def from_file(path: Path | io.BytesIO, start: float = 0, duration: float = 0) -> Any:
    return InputImpl.VideoFromFile(
        path if isinstance(path, io.BytesIO) else str(path), start_time=start, duration=duration
    )


def brightness(path: Path) -> list[float]:
    return [float(planes[0].mean()) for planes in read_planes(path)]


def sound_of(path: Path) -> np.ndarray:
    """Return the samples of the first audio stream, (C, S)."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def same_planes(a: Path, b: Path) -> bool:
    return all(
        np.array_equal(x, y)
        for one, other in zip(read_planes(a), read_planes(b), strict=True)
        for x, y in zip(one, other, strict=True)
    )


# --- frames ---


@pytest.mark.parametrize(("task", "option"), [("deblur", []), ("denoise", ["--sigma", "20"]), ("interpolate", [])])
def test_gives_the_frames_of_the_command_line(comfy: FakeComfyUI, task: str, option: list[str]) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=5, audio=True, **H264)
    expected = comfy.base / "expected.mp4"
    command = ["restore", str(source), "-o", str(expected), "-m", str(comfy.path(task)), "--cuts", "off", "-q"]
    result = CliRunner().invoke(app, [*command, "--precision", "fp32", *option])
    assert result.exit_code == 0, result.output
    restored = restore(comfy.load(task), from_file(source), sigma_255=20.0 if option else -1.0)
    assert same_planes(restored, expected)
    assert read_stamps(restored) == read_stamps(expected)
    assert read_packets(restored) == read_packets(expected)


def test_lies_in_the_temporary_folder(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=3, **H264)
    first, second = (restore(comfy.load_quick("deblur"), from_file(source)) for _ in range(2))
    assert comfy.files() == [first, second]


def test_interpolation_keeps_the_length(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=4, **H264)
    restored = restore(comfy.load_quick("interpolate"), from_file(source), factor="4")
    assert read_stamps(restored) == [Fraction(n, 100) for n in range(16)]


def test_colour_is_bt709_and_tagged(comfy: FakeComfyUI) -> None:
    """A source in BT.601 is converted."""
    source = make_video(comfy.base / "input/in.mp4", num_frames=2, tags=(5, 1, 5, 6), **H264)
    with av.open(str(source)) as container:
        expected = next(container.decode(video=0)).to_ndarray(format="rgb24")
    restored = restore(comfy.load_quick("deblur"), from_file(source), crf=1.0)
    with av.open(str(restored)) as container:
        context = container.streams.video[0].codec_context
        tags = context.colorspace, context.color_range, context.color_primaries, context.color_trc
        frame = next(container.decode(video=0))
        rgb = frame.to_ndarray(format="rgb24")
    assert [int(tag) for tag in tags] == [1, 1, 1, 1]
    assert np.abs(rgb.astype(int) - expected).mean() < 2.5  # 4 if the matrix is not that of the tag


def test_odd_sizes_are_kept(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mkv", num_frames=2, size=(33, 47), pix_fmt="yuv444p")
    restored = restore(comfy.load_quick("deblur"), from_file(source))
    with av.open(str(restored)) as container:
        frame = next(container.decode(video=0))
    assert (frame.height, frame.width, frame.format.name) == (33, 47, "yuv444p")


def test_a_rotated_clip_comes_out_upright(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=2, rotation=90, **H264)
    with av.open(str(source)) as container:
        frame = next(container.decode(video=0))
        expected = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    restored = restore(comfy.load_quick("deblur"), from_file(source), crf=1.0)
    with av.open(str(restored)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        assert (
            np.abs(frame.to_ndarray(format="rgb24").astype(int) - expected).mean() < 5
        )  # chroma is halved along other axes


def test_bytes_in_memory_are_streamed(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=3, **H264)
    model = comfy.load_quick("deblur")
    assert same_planes(restore(model, from_file(io.BytesIO(source.read_bytes()))), restore(model, from_file(source)))


# --- trims ---


@pytest.mark.parametrize(("start", "duration", "frames"), [(0.2, 0.4, range(5, 15)), (0.4, 0, range(10, 20))])
def test_a_trim_is_honoured(comfy: FakeComfyUI, start: float, duration: float, frames: range) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=20, audio=True, **H264)
    model = comfy.load_quick("deblur")
    whole, restored = restore(model, from_file(source)), restore(model, from_file(source, start, duration))
    np.testing.assert_allclose(brightness(restored), [brightness(whole)[n] for n in frames], atol=0.5)
    assert read_stamps(restored) == [Fraction(n, 25) for n in range(len(frames))]
    seconds = sound_of(restored).shape[1] / 48000
    assert seconds == pytest.approx(len(frames) / 25, abs=0.05)
    times = [time for time, _ in read_packets(restored)]
    assert 0 <= times[0] < 0.03


# --- sound ---


def test_sound_that_mp4_cannot_hold_is_encoded(comfy: FakeComfyUI) -> None:
    path = comfy.base / "in.mkv"
    wave = (8000 * np.sin(np.arange(24000) * 2 * np.pi * 440 / 24000)).astype(np.int16)[None]
    with av.open(str(path), "w") as container:
        video = cast(Any, container.add_stream("ffv1", rate=10))
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        sound = cast(AudioStream, container.add_stream("pcm_s16le", rate=24000))
        sound.layout = "mono"
        for n in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(n, 32, 48), format="rgb24")))
            samples = av.AudioFrame.from_ndarray(wave[:, 2400 * n : 2400 * (n + 1)], format="s16", layout="mono")
            samples.sample_rate, samples.pts = 24000, 2400 * n
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    restored = restore(comfy.load_quick("deblur"), from_file(path))
    samples = sound_of(restored)
    assert samples.shape[1] == pytest.approx(24000, abs=2100)
    assert np.abs(samples).max() == pytest.approx(8000 / 32768, rel=0.1)


def with_sound(path: Path, codec: str, **facts: Any) -> Path:
    """Write a clip of 2 s whose sound has this codec."""
    options = {"rate": 48000, "layout": "stereo", **facts}
    with av.open(str(path), "w") as container:
        video = cast(Any, container.add_stream("ffv1", rate=10))
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        sound = cast(AudioStream, container.add_stream(codec, rate=options["rate"]))
        sound.layout = options["layout"]
        channels, step = av.AudioLayout(options["layout"]).nb_channels, options["rate"] // 10
        resampler = av.AudioResampler(
            sound.codec_context.codec.audio_formats[0].name, options["layout"], options["rate"]
        )
        for n in range(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(n, 32, 48), format="rgb24")))
            wave = 0.5 * np.sin(np.arange(n * step, (n + 1) * step) * 2 * np.pi * 440 / options["rate"])
            packed = np.repeat(wave.astype(np.float32), channels)[None]
            samples = av.AudioFrame.from_ndarray(packed, format="flt", layout=options["layout"])
            samples.sample_rate, samples.pts, samples.time_base = (
                options["rate"],
                n * step,
                Fraction(1, options["rate"]),
            )
            for part in resampler.resample(samples):
                container.mux(sound.encode(part))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def test_mp3_is_copied(comfy: FakeComfyUI) -> None:
    """Its decoder is called mp3float."""
    source = with_sound(comfy.base / "in.mkv", "libmp3lame")
    restored = restore(comfy.load_quick("deblur"), from_file(source))
    assert [data for _, data in read_packets(restored)] == [data for _, data in read_packets(source)]


def test_rates_and_layouts_that_change_are_told(comfy: FakeComfyUI) -> None:
    source = with_sound(comfy.base / "in.mkv", "pcm_s16le", layout="7.1", rate=192000)
    restored = restore(comfy.load_quick("deblur"), from_file(source))
    assert "its sound has 192000 Hz, which AAC has not: it gets 96000 Hz" in comfy.texts[-1]
    with av.open(str(restored)) as container:
        context = container.streams.audio[0].codec_context
        assert (context.layout.name, context.sample_rate) == ("7.1", 96000)


def test_sound_behind_a_damaged_part_keeps_its_time(
    comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = with_sound(comfy.base / "in.mkv", "mp2")
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    draw = random.Random(1)
    for data in packets[30:40]:
        at = content.index(data)
        content[at : at + len(data)] = draw.randbytes(len(data))
    damaged = comfy.base / "damaged.mkv"
    damaged.write_bytes(content)
    model = comfy.load_quick("deblur")
    whole, restored = (sound_of(restore(model, from_file(path))) for path in (source, damaged))
    assert "a damaged packet of sound is left out" in caplog.text
    assert restored.shape[1] == pytest.approx(whole.shape[1], abs=2048)
    late = slice(60000, 90000)
    np.testing.assert_allclose(restored[:, late], whole[:, late], atol=0.1)


@pytest.mark.parametrize(
    ("channels", "rate"), [(1, 16000), (2, 16000), (3, 48000), (6, 48000), (8, 48000), (2, 192000), (1, 11000)]
)
def test_a_video_in_memory_keeps_frames_and_sound(comfy: FakeComfyUI, channels: int, rate: int) -> None:
    images = torch.stack([torch.from_numpy(picture(n, 32, 48)).float() / 255 for n in range(10)])
    wave = 0.5 * torch.sin(torch.arange(rate) * 2 * torch.pi * 440 / rate).expand(1, channels, -1)
    components = Types.VideoComponents(images, Fraction(10), {"waveform": wave, "sample_rate": rate})
    restored = restore(comfy.load_quick("deblur"), InputImpl.VideoFromComponents(components), crf=1.0)
    assert read_stamps(restored) == [Fraction(n, 10) for n in range(10)]
    with av.open(str(restored)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.layout.nb_channels == channels
        assert sum(frame.samples for frame in frames) / stream.rate == pytest.approx(1, abs=2100 / stream.rate)
    if channels < 8:  # PyAV cannot return eight planes
        assert sound_of(restored)[0].std() == pytest.approx(0.5 / 2**0.5, abs=0.05)
    with av.open(str(restored)) as container:
        rgb = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.abs(rgb - 255 * images.numpy()).mean() < 4  # chroma is halved


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (23.98, Fraction(1199, 50)),
        (7.3, Fraction(73, 10)),
        (0.1, Fraction(1, 10)),
        (24.0, Fraction(24)),
        (25.0, Fraction(25)),
    ],
)
@pytest.mark.parametrize("task", ["deblur", "interpolate"])
def test_rates_of_create_video_are_kept(comfy: FakeComfyUI, fps: float, expected: Fraction, task: str) -> None:
    """Create Video makes the fraction that the float is exactly: 23.976 has 48 bits above and below the bar."""
    images = torch.stack([torch.from_numpy(picture(n, 32, 48)).float() / 255 for n in range(4)])
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(fps)))
    restored = restore(comfy.load_quick(task), video)
    factor = 2 if task == "interpolate" else 1
    assert read_stamps(restored) == [n / (factor * expected) for n in range(4 * factor)]
    with av.open(str(restored)) as container:
        assert container.streams.video[0].average_rate == factor * expected


@pytest.mark.parametrize("fps", [0, -1, 1e9, "fast", None])
def test_a_rate_that_is_none_is_refused(comfy: FakeComfyUI, fps: Any) -> None:
    video = InputImpl.VideoFromComponents(Types.VideoComponents(torch.rand(2, 16, 16, 3), fps))
    with pytest.raises(InputError, match=r"frame_rate of .* must be above 0 and at most 1000 fps"):
        restore(comfy.load_quick("deblur"), video)


def test_edits_that_are_not_in_the_file_yet_are_honoured(comfy: FakeComfyUI) -> None:
    """A crop or a change of size is done by `get_components` (ComfyUI after 0.33)."""
    source = make_video(comfy.base / "in.mp4", num_frames=3, **H264)
    video = from_file(source)
    video.has_pending_frame_edits = lambda: True
    video.get_components = lambda: Types.VideoComponents(torch.rand(2, 16, 16, 3), Fraction(5))
    assert len(read_stamps(restore(comfy.load_quick("deblur"), video))) == 2


# --- what is refused ---


def test_what_cannot_be_read_is_refused_with_a_reason(comfy: FakeComfyUI) -> None:
    model = comfy.load_quick("deblur")
    (comfy.base / "no.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match="video cannot be read"):
        restore(model, from_file(comfy.base / "no.mp4"))
    source = make_video(comfy.base / "in.mp4", num_frames=5, **H264)
    with pytest.raises(InputError, match="no frame that can be decoded from 3 s on"):
        restore(model, from_file(source, 3.0))
    with pytest.raises(InputError, match=r"factor \(4\).*does not interpolate"):
        restore(model, from_file(source), factor="4")
    with pytest.raises(InputError, match="sigma_255"):
        restore(model, from_file(source), sigma_255=5.0)
    assert comfy.files() == []


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "list.mp4"])
def test_a_playlist_reads_no_other_file(comfy: FakeComfyUI, name: str) -> None:
    other = make_video(comfy.base / "private.ts", num_frames=40, codec="mpeg2video", options={}, size=(32, 48))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"
    (comfy.base / name).write_text(playlist if name.endswith("m3u8") else f"ffconcat version 1.0\nfile {other.name}\n")
    with av.open(str(comfy.base / name)) as container:
        assert next(container.decode(video=0)), "libav reads it"
    with pytest.raises(InputError, match=rf"video cannot be read: .*{name}: it is in a format that is not read here"):
        restore(comfy.load_quick("deblur"), from_file(comfy.base / name))


def test_notes_reach_the_user(comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture) -> None:
    components = Types.VideoComponents(torch.rand(1, 16, 16, 4), Fraction(10))
    restore(comfy.load_quick("deblur"), InputImpl.VideoFromComponents(components))
    assert "alpha" in comfy.texts[-1]
    assert "one frame only" in comfy.texts[-1]
    assert "alpha" in caplog.text


# --- stopping, memory ---


@pytest.mark.parametrize("passed", [3, 60])
def test_a_cancel_leaves_no_file(comfy: FakeComfyUI, passed: int) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=60, audio=True, **H264)
    comfy.state.cancel_after = passed
    with pytest.raises(mm.InterruptProcessingException):
        restore(comfy.load_quick("deblur"), from_file(source))
    assert comfy.files() == []
    assert comfy.state.checks == passed + 1


def test_an_exception_that_is_no_exception_leaves_no_file(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI's cancel is a BaseException since 0.20."""

    class Interrupt(BaseException):
        pass

    def interrupt() -> None:
        raise Interrupt

    source = make_video(comfy.base / "in.mp4", num_frames=9, **H264)
    model = comfy.load_quick("deblur")
    monkeypatch.setattr(mm, "throw_exception_if_processing_interrupted", interrupt)
    with pytest.raises(Interrupt):
        restore(model, from_file(source))
    assert comfy.files() == []


def test_memory_does_not_grow_with_the_length(comfy: FakeComfyUI) -> None:
    model = comfy.load_quick("deblur")
    peaks = []
    for frames in (16, 64):
        source = make_video(comfy.base / f"{frames}.mp4", num_frames=frames, **H264)
        with LiveBytes() as live:
            restore(model, from_file(source))
        peaks.append(live.peak)
    assert peaks[1] < 1.1 * peaks[0]


def test_progress_counts_frames(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=10, **H264)
    restore(comfy.load_quick("deblur"), from_file(source))
    assert comfy.bar[-1][:2] == (10, 10)
    assert any(preview for _, _, preview in comfy.bar)
    assert "10/10 frames" in comfy.texts[-1]
