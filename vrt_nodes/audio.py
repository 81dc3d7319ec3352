"""Audio as ComfyUI holds it, a waveform in memory, as a track of a video file."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from torch import Tensor

from ._bridge import audio, core

if TYPE_CHECKING:
    from vrt_media.writer import VideoWriter

CHUNK_SAMPLES = 1024


class WaveformTrack:
    """A track that is encoded piece by piece while the video is written."""

    def __init__(self, writer: VideoWriter, waveform: dict[str, Any]) -> None:
        """Add the track to a writer that has no frames yet.

        Args:
            writer: Writer of the video.
            waveform: ComfyUI's AUDIO: waveform (1, C, S) in [-1, 1], and sample_rate in Hz.

        Raises:
            InputError: If no layout is known for the number of channels.
        """
        self._samples: Tensor = waveform["waveform"][0]  # (C, S)
        self._rate = int(waveform["sample_rate"])
        channels = self._samples.shape[0]
        if channels not in audio.LAYOUTS:
            raise core.InputError(f"video has sound with {channels} channels; 1 to {max(audio.LAYOUTS)} can be kept")
        if self._rate < 1:
            raise core.InputError(f"video has sound with a sample_rate of {self._rate} Hz; it must be at least 1 Hz")
        self._layout = audio.LAYOUTS[channels]
        self._track = writer.add_audio(self._rate, self._layout)
        self._position = 0

    def write_until(self, seconds: Fraction | None) -> None:
        """Encode the samples before this time; all that remain if None."""
        total = self._samples.shape[1]
        stop = total if seconds is None else min(total, int(seconds * self._rate))
        while self._position < stop:
            part = self._samples[:, self._position : min(self._position + CHUNK_SAMPLES, stop)]  # (C, n)
            packed = part.float().t().reshape(1, -1).cpu().numpy()  # (1, n * C)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate = self._rate
            self._track.encode(frame)
            self._position += part.shape[1]
