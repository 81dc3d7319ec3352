"""Audio and subtitle tracks of an output: packets copied as they are, or audio encoded as AAC."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import av
from av.container import OutputContainer
from av.stream import Stream

COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
"""Audio codecs that players accept in MP4."""
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
"""Channel layout of AAC, by number of channels."""


class Track(Protocol):
    """A track that is fed with packets of an input."""

    def feed(self, packet: Any) -> None:
        """Write the next packet."""
        ...

    def finish(self) -> None:
        """Write what the track still holds."""
        ...


class CopiedTrack:
    """A track whose packets are copied."""

    def __init__(self, container: OutputContainer, template: Stream) -> None:
        """Add the track; the container must not have been written to yet.

        Raises:
            ValueError: If the container cannot hold it; or `av.FFmpegError`.
        """
        self._container = container
        self._stream = container.add_stream_from_template(template)
        self._stream.metadata.update(template.metadata)

    def feed(self, packet: Any) -> None:
        """Write the next packet."""
        packet.stream = self._stream
        self._container.mux(packet)

    def finish(self) -> None:
        """Do nothing: packets are written at once."""


class EncodedTrack:
    """A track that is encoded as AAC."""

    def __init__(self, container: OutputContainer, rate: int, layout: str) -> None:
        """Add the track; the container must not have been written to yet.

        Args:
            container: The output.
            rate: Samples per second.
            layout: One of the values of `LAYOUTS`.
        """
        self._container, self._stream = container, container.add_stream("aac", rate=rate)
        self._stream.layout = layout
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        self._rate = rate
        self._num_samples: int | None = None  # position of the next sample

    def feed(self, packet: Any) -> None:
        """Decode the next packet and encode its samples; those after the first packet follow without gaps."""
        for frame in packet.decode():
            if self._num_samples is None and frame.time is not None:
                self._num_samples = max(0, round(frame.time * self._rate))
            for part in self._resampler.resample(frame):
                self.encode(part)

    def encode(self, frame: av.AudioFrame) -> None:
        """Encode the next samples."""
        frame.pts, frame.time_base = self._num_samples or 0, Fraction(1, self._rate)
        self._num_samples = frame.pts + frame.samples
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Encode the samples that wait in the encoder."""
        self._container.mux(self._stream.encode(None))
