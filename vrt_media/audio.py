"""Audio and subtitle tracks of an output: packets copied as they are, or audio encoded as AAC."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.format import Flags as FormatFlags
from av.stream import Stream

COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
"""Audio codecs that players accept in MP4."""
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
"""Channel layout of AAC, by number of channels."""
_UNKNOWN_LAYOUT = re.compile(r"\d+ channels")
"""Libav's name of a layout of which only the number of channels is known."""


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
        self._stream.disposition = template.disposition
        context, self._filter = template.codec_context, None
        if isinstance(context, av.AudioCodecContext):
            if _UNKNOWN_LAYOUT.fullmatch(context.layout.name):  # of PCM in AVI and Matroska; MP4 needs one
                cast(av.AudioCodecContext, self._stream.codec_context).layout = f"{context.layout.nb_channels}c"
            has_adts_headers = context.codec.canonical_name == "aac" and not context.extradata
            if has_adts_headers and FormatFlags.global_header in FormatFlags(container.format.flags):
                self._filter = BitStreamFilterContext("aac_adtstoasc", template)
        is_strict = FormatFlags.ts_nonstrict not in FormatFlags(container.format.flags) and template.type == "audio"
        self._min_step, self._last_dts = int(is_strict), None

    def feed(self, packet: Any) -> None:
        """Write the next packet; time stamps that do not rise are raised, because muxers refuse them.

        Raises:
            av.FFmpegError: If the container refuses the packet.
        """
        time_base = packet.time_base
        self._container.start_encoding()  # from here on the time base of the stream is final
        for part in [packet] if self._filter is None else self._filter.filter(packet):
            part.stream, part.time_base = self._stream, time_base
            part.rescale_ts(self._stream.time_base)
            if part.dts is not None:
                if self._last_dts is not None:
                    part.dts = max(part.dts, self._last_dts + self._min_step)
                self._last_dts = part.dts
                part.pts = part.dts if part.pts is None else max(part.pts, part.dts)
            self._container.mux(part)

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
