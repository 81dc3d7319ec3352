"""Sound of VRT Restore Video: copied, or encoded again in step with the picture."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from av.audio.stream import AudioStream
from comfy_api.latest import InputImpl, Types

from tests.helpers.video_files import picture, read_packets, read_stamps
from tests.nodes.fake import FakeComfyUI
from tests.nodes.videos import from_file, restore, sound_of


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
    """Write a clip of 2 s whose sound, a tone of 440 Hz or rising from there, has this codec."""
    options = {"rate": 48000, "layout": "stereo", "hertz_per_second": 0, **facts}
    with av.open(str(path), "w") as container:
        video = cast(Any, container.add_stream("ffv1", rate=10))
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        sound = cast(AudioStream, container.add_stream(codec, rate=options["rate"]))
        sound.layout = options["layout"]
        channels, step = av.AudioLayout(options["layout"]).nb_channels, options["rate"] // 10
        resampler = av.AudioResampler(
            cast(Any, sound.codec_context.codec.audio_formats)[0].name, options["layout"], options["rate"]
        )
        for n in range(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(n, 32, 48), format="rgb24")))
            seconds = np.arange(n * step, (n + 1) * step) / options["rate"]
            wave = 0.5 * np.sin(2 * np.pi * seconds * (440 + options["hertz_per_second"] * seconds))
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
    assert "audio stream 1: 1 damaged packet left out" in comfy.texts[-1]
    assert restored.shape[1] == pytest.approx(whole.shape[1], abs=2048)
    late = slice(60000, 90000)
    np.testing.assert_allclose(restored[:, late], whole[:, late], atol=0.1)


def test_sound_of_a_trim_keeps_its_time(comfy: FakeComfyUI) -> None:
    """The first packet that is encoded again begins before the cut."""
    source, model = with_sound(comfy.base / "in.mkv", "mp2", hertz_per_second=500), comfy.load_quick("deblur")
    whole, part = (sound_of(restore(model, from_file(source, start))) for start in (0.0, 0.8))
    offset, late = round(0.8 * 48000), slice(5000, 45000)
    np.testing.assert_allclose(part[0][late], whole[0][offset:][late], atol=0.05)


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
