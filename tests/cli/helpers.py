"""Tiny clips made on the spot, a restorer that changes nothing, and files read back without our own colour code."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from torch import Tensor

from vrt_media.timeline import as_fraction

H, W = 48, 64


class IdentityRestorer:
    """Stands in for `vrt_core.Restorer`: gives every frame back, after holding `lookahead` of them."""

    def __init__(
        self,
        *,
        scale: int = 1,
        frame_factor: int = 1,
        lookahead: int = 5,
        delay_seconds: float = 0,
        fail_at: int | None = None,
        needs_sigma: bool = False,
    ) -> None:
        self.scale, self.frame_factor, self.needs_sigma = scale, frame_factor, needs_sigma
        self.device = torch.device("cpu")
        self._lookahead, self._delay_seconds, self._fail_at = lookahead, delay_seconds, fail_at
        self.seen: dict[str, Any] = {}

    def stream(
        self,
        frames: Iterable[Tensor],
        *,
        sigma_255: float | None = None,
        cuts: Any = "auto",
        on_step: Callable[[int, int | None], object] | None = None,
        check: Callable[[], object] | None = None,
    ) -> Iterator[Tensor]:
        self.seen = {"sigma_255": sigma_255, "cuts": cuts}
        held: list[Tensor] = []
        count = 0
        for frame in frames:
            held.append(frame)
            if len(held) > self._lookahead:
                yield from self._restore(held.pop(0), count, check, on_step)
                count += 1
        while held:
            yield from self._restore(held.pop(0), count, check, on_step)
            count += 1

    def _restore(self, frame: Tensor, n: int, check: Any, on_step: Any) -> Iterator[Tensor]:
        if n == self._fail_at:
            raise RuntimeError("out of luck")
        time.sleep(self._delay_seconds)
        if check:
            check()
        if on_step:
            on_step(n + 1, None)
        frame = frame.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
        for _ in range(self.frame_factor):
            yield frame


def picture(n: int, height: int = H, width: int = W) -> np.ndarray:
    """A smooth coloured RGB picture that moves with n, (H, W, 3), uint8."""
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
    """Encode `picture(0)`, `picture(1)`, ... with libav's own conversions.

    `stamps` are in units of `time_base`; `tags` are matrix, range, primaries, transfer; audio is a second of sine per
    25 frames.
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
    """The samples of every frame, plane by plane, as the decoder gives them."""
    with av.open(str(path)) as container:
        return [planes_of(frame) for frame in container.decode(video=0)]


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """The samples of a frame with one component per plane."""
    kind = np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
    size = np.dtype(kind).itemsize
    return [
        np.frombuffer(p, kind).reshape(-1, p.line_size // size)[: p.height, : p.width].astype(int) for p in frame.planes
    ]


def read_stamps(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        unit = as_fraction(stream.time_base, Fraction(1))
        return [(frame.pts or 0) * unit for frame in container.decode(stream)]


def read_packets(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    """Time and bytes of every packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        unit = as_fraction(stream.time_base, Fraction(1))
        return [((p.pts or 0) * unit, bytes(p)) for p in container.demux(stream) if p.size]


def psnr(a: list[np.ndarray], b: list[np.ndarray], peak: float = 255) -> float:
    """PSNR over all planes of a frame."""
    error = np.mean([np.mean((x - y) ** 2.0) for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(peak**2 / max(error, 1e-12)))


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed")
