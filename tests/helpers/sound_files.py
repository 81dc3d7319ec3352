"""Clips with a tone in any codec."""

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream

from tests.helpers.video_files import picture


def add_sound(path: Path, codec: str, sample_format: str, layout: str = "stereo", seconds: int = 1) -> Path:
    """Write a clip of 25 frames a second with a tone of that codec."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        sound = cast(AudioStream, container.add_stream(codec, rate=48000))
        sound.layout = layout
        for n in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(picture(n), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(video.encode(frame))
        channels = len(av.AudioLayout(layout).channels)
        kind = np.int16 if sample_format.startswith("s16") else np.float32
        shape = (channels, 1024) if sample_format.endswith("p") else (1, channels * 1024)
        for start_sample in range(0, 48000 * seconds, 1024):
            tone = av.AudioFrame.from_ndarray(cast(Any, np.ones(shape, kind)), format=sample_format, layout=layout)
            tone.sample_rate, tone.pts = 48000, start_sample
            container.mux(sound.encode(tone))
        container.mux([*video.encode(None), *sound.encode(None)])
    return path
