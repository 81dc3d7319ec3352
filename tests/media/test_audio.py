"""Sound that is encoded again: layouts, rates, gaps and damage."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.error import InvalidDataError

from vrt_media.audio import EncodedTrack, conversion_note, is_copied

RATE = 48000


def tone(seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """Samples of a sine of 440 Hz in the first channel, silence in the others; packed, (1, channels * S)."""
    wave = np.zeros((round(seconds * rate), channels), np.float32)
    wave[:, 0] = 0.5 * np.sin(np.arange(len(wave)) * 2 * np.pi * 440 / rate)
    return wave.reshape(1, -1)


def frame_of(samples: np.ndarray, layout: str, rate: int, seconds: float | None = None) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = None if seconds is None else round(seconds * rate)
    return frame


class FakePacket:
    """A packet that decodes to these frames, or to an error."""

    def __init__(self, *frames: av.AudioFrame, error: Exception | None = None) -> None:
        self._frames, self._error = list(frames), error

    def decode(self) -> list[av.AudioFrame]:
        if self._error is not None:
            raise self._error
        return self._frames


def written(path: Path, packets: list[Any], layout: str = "mono", rate: int = RATE) -> AudioStream:
    with av.open(str(path), "w") as container:
        track = EncodedTrack(container, rate, layout)
        for packet in packets:
            track.feed(packet)
        track.finish()
    with av.open(str(path)) as container:
        return container.streams.audio[0]


def samples_of(path: Path) -> np.ndarray:
    """First channel of the sound, from time 0 on."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def loud_seconds(samples: np.ndarray) -> list[tuple[float, float]]:
    """Beginnings and ends of the parts that are not silent, in seconds."""
    level = np.abs(samples[: len(samples) // 480 * 480]).reshape(-1, 480).max(axis=1) > 0.1
    edges = np.flatnonzero(np.diff(np.concatenate(([0], level.astype(int), [0]))))
    return [(start / 100, stop / 100) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "quad", "5.1", "5.1(side)", "6.1", "7.1", "7.1(wide)"])
def test_a_layout_keeps_its_channels(tmp_path: Path, layout: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    stream = written(tmp_path / "a.mp4", [FakePacket(frame_of(tone(0.2, channels), layout, RATE, 0))], layout)
    assert stream.codec_context.layout.nb_channels == channels


@pytest.mark.parametrize("layout", ["hexadecagonal", "9.1.4", "downmix"])
def test_a_layout_that_aac_has_not_is_mixed_or_refused(tmp_path: Path, layout: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    try:
        stream = written(tmp_path / "a.mp4", [FakePacket(frame_of(tone(0.2, channels), layout, RATE, 0))], layout)
    except ValueError as error:
        assert layout in str(error)  # noqa: PT017 (libav cannot mix all of them)
    else:
        assert stream.codec_context.layout.nb_channels in (channels, 2), "it depends on the version of libav"


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(8000, 8000), (44100, 44100), (50000, 48000), (96000, 96000), (176400, 96000)],
)
def test_a_rate_that_aac_has_not_becomes_one_below(tmp_path: Path, rate: int, expected: int) -> None:
    packets = [FakePacket(frame_of(tone(0.1, 1, rate), "mono", rate, n / 10)) for n in range(10)]
    stream = written(tmp_path / "a.mp4", packets, "mono", rate)
    assert stream.codec_context.sample_rate == expected
    ((start, stop),) = loud_seconds(samples_of(tmp_path / "a.mp4"))
    assert (start, stop) == pytest.approx((0, 1), abs=0.05)


@pytest.mark.parametrize("jitter", [0, 0.001, -0.001])
def test_a_gap_stays_a_gap_and_jitter_does_not_become_one(tmp_path: Path, jitter: float) -> None:
    times = [0.5, 0.6, 0.7, 1.4, 1.5]
    packets = [FakePacket(frame_of(tone(0.1), "mono", RATE, t + jitter * (n % 2))) for n, t in enumerate(times)]
    written(tmp_path / "a.mp4", packets)
    with av.open(str(tmp_path / "a.mp4")) as container:
        start = float(next(container.decode(audio=0)).time or 0)
    parts = [(start + a, start + b) for a, b in loud_seconds(samples_of(tmp_path / "a.mp4"))]
    assert np.array(parts) == pytest.approx(np.array([(0.5, 0.8), (1.4, 1.6)]), abs=0.03)


def test_a_damaged_packet_becomes_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    packets = [FakePacket(frame_of(tone(0.1), "mono", RATE, n / 10)) for n in range(10)]
    for n in (4, 6):
        packets[n] = FakePacket(error=InvalidDataError(1, "Invalid data found"))
    with caplog.at_level(logging.WARNING):
        written(tmp_path / "a.mp4", packets)
    parts = loud_seconds(samples_of(tmp_path / "a.mp4"))
    assert np.array(parts) == pytest.approx(np.array([(0, 0.4), (0.5, 0.6), (0.7, 1)]), abs=0.03)
    assert [record.message for record in caplog.records] == [
        "a damaged packet of sound is left out (Invalid data found); more may follow"
    ]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ([0, 0.1, 0.1, 0.2], 0.3),  # a packet that comes twice
        ([100, 100.1, 0, 0.1], 0.4),  # files joined: the clock starts anew
        ([0, 0.1, 90_000, 90_000.1], 0.4),  # a broken clock
        ([None, None, None], 0.3),  # no clock
    ],
)
def test_a_clock_that_jumps_neither_ends_the_sound_nor_fills_the_disk(
    tmp_path: Path, times: list[float | None], seconds: float
) -> None:
    written(tmp_path / "a.mp4", [FakePacket(frame_of(tone(0.1), "mono", RATE, t)) for t in times])
    assert len(samples_of(tmp_path / "a.mp4")) / RATE == pytest.approx(seconds, abs=0.05)


def source(path: Path, codec: str, layout: str = "stereo", rate: int = RATE) -> Path:
    with av.open(str(path), "w") as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=rate))
        stream.layout = layout
        form = cast(Any, stream.codec_context.codec.audio_formats)[0].name
        resampler = av.AudioResampler(format=form, layout=layout, rate=rate)
        channels = av.AudioLayout(layout).nb_channels
        for part in resampler.resample(frame_of(tone(0.2, channels, rate), layout, rate, 0)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "copied"),
    [
        ("a.mp3", "libmp3lame", True),  # decoded by mp3float
        ("a.mkv", "ac3", True),
        ("a.mkv", "aac", True),
        ("a.mkv", "flac", True),
        ("a.mkv", "libopus", True),
        ("a.mkv", "mp2", False),
        ("a.mkv", "pcm_s16le", False),
    ],
)
def test_sound_that_mp4_holds_is_copied_whatever_its_decoder_is_called(
    tmp_path: Path, name: str, codec: str, copied: bool
) -> None:
    with av.open(str(source(tmp_path / name, codec))) as container:
        assert is_copied(container.streams.audio[0].codec_context) is copied


@pytest.mark.parametrize(
    ("layout", "rate", "note"),
    [
        ("stereo", 48000, ""),
        ("7.1", 48000, ""),
        ("stereo", 192000, "its sound has 192000 Hz, which AAC has not: it gets 96000 Hz"),
    ],
)
def test_a_change_of_the_sound_is_told(tmp_path: Path, layout: str, rate: int, note: str) -> None:
    with av.open(str(source(tmp_path / "a.mkv", "pcm_s16le", layout, rate))) as container:
        assert conversion_note(container.streams.audio[0].codec_context) == note
