"""Orientation of frames: the quarter turns and the mirroring that a file asks players for."""

from __future__ import annotations

import math
import struct

import av
import torch
from av.sidedata.sidedata import Type
from torch import Tensor


def orientation_of(frame: av.VideoFrame) -> tuple[int, bool]:
    """Return the quarter turns, counterclockwise, that bring a frame upright, and whether to mirror it then."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    is_mirrored = a * d - b * c < 0
    turns = -math.atan2(b, -a if is_mirrored else a) / (math.pi / 2)
    return round(turns) % 4, is_mirrored


def upright(rgb: Tensor, frame: av.VideoFrame) -> Tensor:
    """Turn and mirror the picture of a frame, (3, h, w) -> (3, H, W)."""
    turns, is_mirrored = orientation_of(frame)
    rgb = torch.rot90(rgb, turns, dims=(1, 2))
    return rgb.flip(2) if is_mirrored else rgb


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return height and width of the upright picture of a frame, pixels."""
    is_turned = orientation_of(frame)[0] % 2 == 1
    return (frame.width, frame.height) if is_turned else (frame.height, frame.width)
