"""Sound tracks of a video in the making: packets copied where MP4 can hold them, else encoded as AAC."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from torch import Tensor

from ._bridge import core, timeline

COPIED_CODECS = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
CHUNK_SAMPLES = 1024


class CopiedTrack:
    """A track whose packets stay as they are."""

    def __init__(self, container: Any, template: Any) -> None:
        """Add it; the container must not have been written to yet."""
        self._container, self._stream = container, container.add_stream_from_template(template)

    def feed(self, packet: Any, start_seconds: Fraction) -> None:
        """Take the next packet; stamps count from ``start_seconds`` on."""
        shift = round(start_seconds / timeline.as_fraction(packet.time_base, Fraction(1)))
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._stream
        self._container.mux(packet)

    def finish(self) -> None:
        """Nothing waits."""


class EncodedTrack:
    """A track that is encoded as AAC."""

    def __init__(self, container: Any, rate: int, layout: str) -> None:
        """Add it; the container must not have been written to yet."""
        self._container, self._stream = container, container.add_stream("aac", rate=rate)
        self._stream.layout = layout
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        self._rate = rate
        self._samples_done: int | None = None

    def feed(self, packet: Any, start_seconds: Fraction) -> None:
        """Take the next packet; what comes after the first is put together without gaps."""
        for frame in packet.decode():
            if self._samples_done is None and frame.time is not None:
                self._samples_done = max(0, round((frame.time - start_seconds) * self._rate))
            for part in self._resampler.resample(frame):
                self.encode(part)

    def encode(self, frame: Any) -> None:
        """Take the next samples."""
        frame.pts, frame.time_base = self._samples_done or 0, Fraction(1, self._rate)
        self._samples_done = frame.pts + frame.samples
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Encode what is waiting."""
        self._container.mux(self._stream.encode(None))


class Waveform:
    """Sound as ComfyUI keeps it, fed to a track as the video goes on."""

    def __init__(self, audio: dict[str, Any]) -> None:
        """Take ``audio``: waveform (1, C, S) in [-1, 1], and sample_rate in Hz.

        Raises:
            InputError: If it has channels that no layout is known for.
        """
        self._samples: Tensor = audio["waveform"][0]
        self.rate = int(audio["sample_rate"])
        channels = self._samples.shape[0]
        if channels not in LAYOUTS:
            raise core.InputError(f"video has sound with {channels} channels; mono, stereo or 5.1 can be kept")
        self.layout = LAYOUTS[channels]
        self._given = 0

    def feed(self, track: EncodedTrack, until_seconds: Fraction | None) -> None:
        """Encode what lies before this time; all that is left if None."""
        total = self._samples.shape[1]
        stop = total if until_seconds is None else min(total, int(until_seconds * self.rate))
        while self._given < stop:
            part = self._samples[:, self._given : min(self._given + CHUNK_SAMPLES, stop)]
            frame = av.AudioFrame.from_ndarray(
                part.float().contiguous().cpu().numpy(), format="fltp", layout=self.layout
            )
            frame.sample_rate = self.rate
            track.encode(frame)
            self._given += part.shape[1]


def add_track(container: Any, stream: Any, note: Callable[[str], object]) -> CopiedTrack | EncodedTrack | None:
    """Add a track for a stream of a file; None if its codec is not known here.

    Args:
        container: To write to.
        stream: Of the source.
        note: Told what is not kept.
    """
    context = stream.codec_context
    if context is None:
        note(f"sound track {stream.index} is in an unknown format and is left out")
        return None
    if context.name in COPIED_CODECS:
        return CopiedTrack(container, stream)
    channels = len(context.layout.channels)
    return EncodedTrack(container, context.sample_rate, LAYOUTS.get(channels, "stereo"))
