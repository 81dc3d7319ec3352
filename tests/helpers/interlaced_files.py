"""Interlaced video: frames woven from the fields of successive pictures."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from tests.helpers.video_files import picture
from vrt_media.filter_graph import FilterChain


def picture_frame(n: int, pix_fmt: str = "yuv420p", make: Callable[[int], np.ndarray] = picture) -> av.VideoFrame:
    """Return picture n, BT.709 of limited range."""
    frame = av.VideoFrame.from_ndarray(make(n), format="rgb24")
    frame = frame.reformat(format=pix_fmt, dst_colorspace=1, dst_color_range=1)
    frame.colorspace, frame.color_range = 1, 1
    return frame


def weave(first: av.VideoFrame, second: av.VideoFrame, order: str) -> av.VideoFrame:
    """Return a frame with alternate rows of two; of each plane, so chroma is interlaced, too."""
    woven = av.VideoFrame(first.width, first.height, first.format.name)
    for target, a, b in zip(woven.planes, first.planes, second.planes, strict=True):
        rows = np.frombuffer(a, np.uint8).reshape(-1, a.line_size).copy()
        parity = 1 if order == "top" else 0
        rows[parity::2] = np.frombuffer(b, np.uint8).reshape(-1, b.line_size)[parity::2]
        target.update(rows.tobytes())
    woven.colorspace, woven.color_range = 1, 1
    return woven


def woven_frames(order: str, num_frames: int = 12, make: Callable[[int], np.ndarray] = picture) -> list[av.VideoFrame]:
    """Return frames: number n has the fields of pictures 2n and 2n + 1, the former at its own time."""
    return [
        weave(picture_frame(2 * n, make=make), picture_frame(2 * n + 1, make=make), order) for n in range(num_frames)
    ]


def write_frames(
    path: Path,
    frames: list[av.VideoFrame],
    *,
    flag: str | None = None,
    codec: str = "ffv1",
    rotation: int = 0,
    stamps: list[int] | None = None,
) -> Path:
    """Encode frames, 25 a second.

    Args:
        path: File.
        frames: Frames of one size and format.
        flag: "tff" or "bff" flags them as interlaced, "prog" as progressive.
        codec: Encoder.
        rotation: Display rotation in degrees.
        stamps: Time stamps, in frames.
    """
    chain = FilterChain(frames[0], [("setfield", flag)]) if flag else None
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=Fraction(25)))
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        if rotation:
            stream.set_display_rotation(rotation)
        for n, frame in enumerate(frames):
            (out,) = chain.push(frame) if chain else [frame]
            out.pts, out.time_base = stamps[n] if stamps else n, Fraction(1, 25)
            container.mux(stream.encode(out))
        container.mux(stream.encode(None))
    return path
