"""Estimate of the size of an output, beside the space that is free for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import av

BITS_PER_PIXEL = 0.25
"""Of lossy encoders: x264 at the default quality takes 0.15 to 0.31 for clean clips, and 4.4 with noise of sigma 30."""
INTRA_RATIOS = {
    "wrapped_avframe": 1.0,
    "rawvideo": 1.0,
    "v210": 1.0,
    "ffv1": 0.5,
    "huffyuv": 0.5,
    "ffvhuff": 0.5,
    "utvideo": 0.5,
    "png": 0.5,
    "tiff": 0.7,
    "exr": 2.0,  # 32 bits a sample
    "prores": 0.2,
    "prores_ks": 0.2,
    "dnxhd": 0.2,
    "mjpeg": 0.15,
}
"""Size over that of the bare samples, for encoders of single frames."""


def estimate_bytes(codec: str, pix_fmt: str, height: int, width: int, num_frames: int) -> int:
    """Return about how many bytes a clip takes, if it has little noise."""
    pixels = height * width * num_frames
    if codec not in INTRA_RATIOS:
        return round(pixels * BITS_PER_PIXEL / 8)
    layout = av.VideoFormat(pix_fmt, 64, 64)
    bits = sum((8 if c.bits <= 8 else 16) * c.width * c.height for c in layout.components) / (64 * 64)
    return round(pixels * bits / 8 * INTRA_RATIOS[codec])


def shortage(folder: Path, needed_bytes: int) -> str | None:
    """Return a line about the space in a folder, or in the nearest that exists, if less is free than needed."""
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes >= needed_bytes:
        return None
    return f"{_size(free_bytes)} are free in {folder}, the output may take about {_size(needed_bytes)}"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
