"""Small video files: synthetic clips, and frames read back without the project's colour conversion."""

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from vrt_media.scheduling import unchanged_scheduling
from vrt_media.timeline import as_fraction

H, W = 48, 64


def picture(n: int, height: int = H, width: int = W) -> np.ndarray:
    """Return frame n of a smooth moving colour pattern, (H, W, 3), uint8."""
    y, x = np.mgrid[:height, :width]
    wave = [np.sin((x + 2 * n) / 9 + k) * np.cos((y - n) / 7 - k) for k in range(3)]
    return (128 + 90 * np.stack(wave, -1)).round().astype(np.uint8)


def make_video(
    path: Path,
    *,
    num_frames: int = 12,
    size: tuple[int, int] = (H, W),
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    rate: Fraction = Fraction(25),
    stamps: list[int] | None = None,
    time_base: Fraction | None = None,
    tags: tuple[int, int, int, int] | None = (1, 1, 1, 1),
    aspect: Fraction = Fraction(1),
    rotation: int = 0,
    audio: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode `picture(0)`, `picture(1)`, ... with libav's conversions.

    Args:
        path: File.
        num_frames: Length of the clip.
        size: (height, width) of the frames.
        codec: Video encoder.
        pix_fmt: Pixel format.
        rate: Frames per second.
        stamps: Time stamps in units of `time_base`; 0, 1, ... if None.
        time_base: Seconds per unit of the time stamps; the duration of a frame if None.
        tags: Matrix, range, primaries and transfer of the colour; None for an untagged file.
        aspect: Sample aspect.
        rotation: Display rotation in degrees.
        audio: Whether to add a sine in AAC, as long as the video.
        options: Options of the encoder.
    """
    with av.open(str(path), "w") as container:
        video = cast(VideoStream, container.add_stream(codec, rate=rate, options=options or {}))
        video.height, video.width = size
        video.pix_fmt = pix_fmt
        context = video.codec_context
        context.time_base = time_base or 1 / rate
        context.sample_aspect_ratio = aspect
        if tags:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = tags
        if rotation:
            video.set_display_rotation(rotation)
        with unchanged_scheduling():
            context.open(strict=False)
        sound = cast(AudioStream, container.add_stream("aac", rate=48000)) if audio else None
        for n in range(num_frames):
            source = av.VideoFrame.from_ndarray(picture(n, *size), format="rgb24")
            frame = source.reformat(
                format=pix_fmt, dst_colorspace=tags[0] if tags else None, dst_color_range=tags[1] if tags else None
            )
            frame.pts, frame.time_base = stamps[n] if stamps else n, context.time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            _add_sine(container, sound, seconds=float(num_frames / rate))
    return path


def _add_sine(container: Any, stream: AudioStream, seconds: float) -> None:
    t = np.arange(int(48000 * seconds))
    wave = (0.3 * np.sin(2 * np.pi * 440 * t / 48000)).astype(np.float32)[None]
    for start in range(0, wave.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(wave[:, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_planes(path: Path) -> list[list[np.ndarray]]:
    """Return the samples of every frame, plane by plane, as decoded."""
    with av.open(str(path)) as container:
        return [planes_of(frame) for frame in container.decode(video=0)]


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Return the samples of a frame with one component per plane."""
    kind = np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
    size = np.dtype(kind).itemsize
    return [
        np.frombuffer(p, kind).reshape(-1, p.line_size // size)[: p.height, : p.width].astype(int) for p in frame.planes
    ]


def read_stamps(path: Path) -> list[Fraction]:
    """Return the time stamp of each frame, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        unit = as_fraction(stream.time_base, Fraction(1))
        return [(frame.pts or 0) * unit for frame in container.decode(stream)]


def read_packets(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    """Return time in seconds and bytes of every packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        unit = as_fraction(stream.time_base, Fraction(1))
        return [((p.pts or 0) * unit, bytes(p)) for p in container.demux(stream) if p.size]


def psnr(a: list[np.ndarray], b: list[np.ndarray], peak: float = 255) -> float:
    """Return the PSNR over all planes of a frame, in dB."""
    error = np.mean([np.mean((x - y) ** 2.0) for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(peak**2 / max(error, 1e-12)))


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed")
