"""Audio and subtitle tracks of an output: packets copied as they are, or audio encoded as AAC."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from typing import Any, Protocol, cast

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.error import FFmpegError
from av.format import Flags as FormatFlags
from av.stream import Stream

from .timeline import as_fraction

_log = logging.getLogger(__name__)

COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
"""Audio codecs that players accept in MP4."""
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Usual channel layout, by number of channels."""
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Sample rates of AAC, Hz."""
_JITTER_SECONDS, _MAX_GAP_SECONDS, _MAX_OVERLAP_SECONDS = Fraction(1, 100), 600, 1
"""Time stamps that differ from the number of samples by less than jitter are rounded ones; by more than the others,
they belong to another clock."""
_CHUNK_SAMPLES = 1 << 14
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
        self._stream = _add_copy(container, template)
        self._stream.metadata.update(template.metadata)
        self._stream.disposition = template.disposition
        context, self._filter = template.codec_context, None
        if isinstance(context, av.AudioCodecContext):
            copy = self._stream.codec_context
            if copy is not None and _UNKNOWN_LAYOUT.fullmatch(context.layout.name):
                # of PCM in AVI and Matroska; MP4 needs one
                cast(av.AudioCodecContext, copy).layout = f"{context.layout.nb_channels}c"
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


def _add_copy(container: OutputContainer, template: Stream) -> Stream:
    """Add a stream with the parameters of another.

    Matroska holds every sound that WAV and AVI hold, such as WMA and ADPCM, by its tag there; PyAV refuses those that
    have no name of Matroska's own, unless another codec is named first.

    Raises:
        ValueError: If the container cannot hold it.
    """
    try:
        return container.add_stream_from_template(template)
    except ValueError:
        if container.format.name != "matroska" or template.type != "audio":
            raise
    stream = container.add_mux_stream("pcm_s16le")
    BitStreamFilterContext("null", template, stream)  # copies all parameters, the tag included
    return stream


def is_copied(context: av.CodecContext) -> bool:
    """Return whether sound of this codec is copied; a decoder may have another name than its codec."""
    return context.codec.canonical_name in COPIED_CODECS


def conversion_note(context: av.CodecContext) -> str:
    """Return what encoding as AAC changes about this sound, in words for the user; empty if nothing, or if copied."""
    if not isinstance(context, av.AudioCodecContext) or is_copied(context):
        return ""
    try:
        rate, layout = aac_format(context.sample_rate, context.layout.name)
    except ValueError:
        return ""  # the writer leaves it out, and says so
    notes = []
    if rate != context.sample_rate:
        notes.append(f"its sound has {context.sample_rate} Hz, which AAC has not: it gets {rate} Hz")
    if av.AudioLayout(layout).nb_channels != context.layout.nb_channels:
        notes.append(f"its sound has {context.layout.nb_channels} channels, which are mixed to {layout}")
    return "; ".join(notes)


def aac_format(rate: int, layout: str) -> tuple[int, str]:
    """Return the sample rate and the channel layout in which sound is encoded as AAC.

    Args:
        rate: Sample rate of the sound, Hz.
        layout: Its channel layout, by libav's name.

    Raises:
        ValueError: If libav can neither encode nor mix the layout.
    """
    rate_out = next((r for r in AAC_RATES if r <= rate), AAC_RATES[-1])
    is_unknown = re.fullmatch(r"(\d+) channels", layout)
    usual = LAYOUTS.get(int(is_unknown[1])) if is_unknown else None
    for candidate in dict.fromkeys(filter(None, (usual or layout, "stereo"))):
        try:
            context = av.AudioCodecContext.create("aac", "w")
            context.sample_rate, context.layout, context.format = rate_out, candidate, "fltp"  # type: ignore[assignment]
            context.open()
            av.AudioResampler("fltp", candidate, rate_out).resample(_silence(1024, usual or layout, rate))
        except (FFmpegError, ValueError):
            continue
        return rate_out, candidate
    raise ValueError(f"AAC cannot hold the channel layout {layout}")


class EncodedTrack:
    """A track that is encoded as AAC.

    Samples keep their times: gaps become silence, and what comes twice is dropped.
    """

    def __init__(self, container: OutputContainer, rate: int, layout: str) -> None:
        """Add the track; the container must not have been written to yet.

        Args:
            container: The output.
            rate: Sample rate of the sound, Hz.
            layout: Its channel layout, by libav's name.

        Raises:
            ValueError: If libav can neither encode nor mix the layout.
        """
        self._rate, self._layout = aac_format(rate, layout)
        self._container, self._stream = container, container.add_stream("aac", rate=self._rate)
        self._stream.layout = self._layout
        self._resampler = av.AudioResampler("fltp", self._layout, self._rate)
        self._num_samples: int | None = None
        """Position of the next sample of the output."""
        self._end: Fraction | None = None
        """Time at which the samples so far end, seconds, by the clock of the input."""
        self.num_damaged = 0
        """Packets that could not be decoded."""

    def feed(self, packet: Any) -> None:
        """Decode the next packet and encode its samples; leave it out if it is damaged."""
        try:
            frames = packet.decode()
        except FFmpegError as error:
            if not self.num_damaged:
                _log.warning("a damaged packet of sound is left out (%s); more may follow", error.strerror)
            self.num_damaged += 1
            return
        for frame in frames:
            if self._align(frame):
                self.encode(frame)

    def encode(self, frame: av.AudioFrame) -> None:
        """Encode the next samples, whatever their time."""
        self._write(self._resampler.resample(frame))

    def finish(self) -> None:
        """Encode the samples that wait in resampler and encoder."""
        if self._num_samples is not None:
            self._write(self._resampler.resample(None))
        self._container.mux(self._stream.encode(None))

    def _align(self, frame: av.AudioFrame) -> bool:
        """Write silence up to the time of a frame; return False if its samples were written before."""
        duration = Fraction(frame.samples, frame.sample_rate)
        if frame.pts is None:
            self._end = None if self._end is None else self._end + duration
            return True
        start = frame.pts * as_fraction(frame.time_base, Fraction(1))
        if self._end is None:
            self._end = start + duration
            if self._num_samples is None:
                self._num_samples = round(start * self._rate)  # negative before a cut
            return True
        gap = start - self._end
        if -_MAX_OVERLAP_SECONDS <= gap < -_JITTER_SECONDS and start + duration <= self._end:
            return False
        if _JITTER_SECONDS < gap <= _MAX_GAP_SECONDS:
            self._write_silence(round(gap * self._rate))
            self._end = start
        elif abs(gap) > _JITTER_SECONDS:
            self._end = start
        self._end += duration
        return True

    def _write_silence(self, num_samples: int) -> None:
        silent = av.AudioResampler("fltp", self._layout, self._rate)
        for position in range(0, num_samples, _CHUNK_SAMPLES):
            count = min(_CHUNK_SAMPLES, num_samples - position)
            self._write(silent.resample(_silence(count, self._layout, self._rate)))

    def _write(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            frame.pts, frame.time_base = self._num_samples or 0, Fraction(1, self._rate)
            self._num_samples = frame.pts + frame.samples
            self._container.mux(self._stream.encode(frame))


def _silence(num_samples: int, layout: str, rate: int) -> av.AudioFrame:
    """Return packed float samples: PyAV cannot fill planar ones of eight channels."""
    channels = av.AudioLayout(layout).nb_channels
    zeros = np.zeros((1, num_samples * channels), np.float32)
    frame = av.AudioFrame.from_ndarray(zeros, format="flt", layout=layout)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    return frame
