"""Inputs for the nodes: small synthetic images and videos with sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

H, W = 48, 64
SOUND_RATE = 24000


def picture(n: int, height: int = H, width: int = W) -> np.ndarray:
    """Return frame n of a panning colour pattern with a disc that moves against it, (height, width, 3), uint8."""
    y, x = np.mgrid[:height, :width]
    scale = height / 48
    waves = [np.sin((x / scale + n) / 9 + k) * np.cos((y / scale - n / 2) / 7 - k) for k in range(3)]
    frame = 128 + 90 * np.stack(waves, -1)
    disc = (x / scale - 12 - 3 * n % 50) ** 2 + (y / scale - 24) ** 2 < 64
    frame[disc] = (240, 220, 60)
    return frame.round().astype(np.uint8)


def noisy(frame: np.ndarray, n: int, sigma: float = 25) -> np.ndarray:
    """Add Gaussian noise with the seed n; `sigma` is in 8-bit units."""
    grain = np.random.default_rng(n).normal(0, sigma, frame.shape)
    return (frame + grain).clip(0, 255).round().astype(np.uint8)


def write_video(
    path: Path,
    num_frames: int = 5,
    *,
    height: int = H,
    width: int = W,
    rate: int = 10,
    sigma: float = 25,
    sound: bool = True,
) -> Path:
    """Write a clip: H.264 in 4:2:0 (4:4:4 for odd sizes), BT.709, and a tone in AAC."""
    odd = height % 2 or width % 2
    with av.open(path, "w") as out:
        video = cast(VideoStream, out.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "veryfast"}))
        video.height, video.width, video.pix_fmt = height, width, "yuv444p" if odd else "yuv420p"
        video.time_base = Fraction(1, rate)
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        audio = cast(AudioStream, out.add_stream("aac", rate=SOUND_RATE, layout="mono")) if sound else None
        for n in range(num_frames):
            frame = av.VideoFrame.from_ndarray(noisy(picture(n, height, width), n, sigma), format="rgb24")
            out.mux(video.encode(frame.reformat(format=video.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG")))
        out.mux(video.encode(None))
        if audio:
            wave = np.sin(np.arange(num_frames * SOUND_RATE // rate) * 2 * np.pi * 440 / SOUND_RATE)
            samples = av.AudioFrame.from_ndarray((wave * 8000).astype(np.int16)[None], format="s16", layout="mono")
            samples.rate = SOUND_RATE
            out.mux(audio.encode(samples))
            out.mux(audio.encode(None))
    return path


def make_inputs(folder: Path) -> None:
    """Write the files that workflows and tests load."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(0)).save(folder / "example.png")  # ComfyUI brings a file of this name
    Image.fromarray(picture(0, 24, 32)).save(folder / "small.png")
    Image.fromarray(picture(0, 45, 51)).save(folder / "odd.png")
    Image.fromarray(picture(0)).convert("RGBA").save(folder / "rgba.png")
    write_video(folder / "video.mp4")
