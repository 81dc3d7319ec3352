"""Conversion of libav's video frames to R'G'B' tensors and back.

Does not use libswscale, which works with about 8 bits of precision: its 16-bit and float RGB is half an 8-bit code too
dark on average, also for 10-bit sources. The arithmetic below is exact in float32.
"""

from __future__ import annotations

import re

import av
import numpy as np
import torch
from torch import Tensor

from .chroma import chroma_factors, downsample_chroma, upsample_chroma
from .colour import Colour


def read_rgb(frame: av.VideoFrame, colour: Colour, *, device: torch.device | str = "cpu") -> Tensor:
    """Convert a decoded frame to R'G'B'.

    Args:
        frame: Frame of any pixel format; alpha is left out.
        colour: Colour of the frame, from `colour_of`.
        device: Device that the conversion runs on.

    Returns:
        (3, H, W), float32, nominally in [0, 1]; not clamped, so codes beyond black and white survive.
    """
    if is_float(frame.format.name):
        return torch.from_numpy(_float_samples(frame)).to(device)
    name = plain_format(frame.format)
    if name != frame.format.name:
        frame = frame.reformat(format=name)
    layout = frame.format
    depth_bits = layout.components[0].bits
    if not layout.is_planar and layout.is_rgb:  # rgb24, rgb48le
        packed = _plane(frame, 0, depth_bits, columns=3 * frame.width).reshape(frame.height, frame.width, 3)
        return torch.from_numpy(packed).to(device).movedim(2, 0).float().div(2**depth_bits - 1).contiguous()
    planes = [
        torch.from_numpy(_plane(frame, c.plane, depth_bits, columns=c.width)).to(device).float()
        for c in layout.components[:3]
        if not c.is_alpha
    ]
    if layout.is_rgb:  # components are R, G, B in whatever plane
        return torch.stack(planes).div_(2**depth_bits - 1)
    black, luma_span, grey, chroma_span = _code_range(depth_bits, colour.full_range)
    luma = planes[0].sub_(black).div_(luma_span)  # (H, W)
    if len(planes) == 1:
        return luma.expand(3, -1, -1).contiguous()
    cb, cr = (
        upsample_chroma(p.sub_(grey).div_(chroma_span), (frame.height, frame.width), layout.name, colour.siting)
        for p in planes[1:]
    )
    kr, kb = colour.luma_weights
    red = luma + 2 * (1 - kr) * cr
    blue = luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return torch.stack([red, green, blue])


def write_rgb(rgb: Tensor, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """Convert R'G'B' to a frame for an encoder.

    Args:
        rgb: (3, H, W), nominally in [0, 1]; codes are rounded, and clipped to the range of the format, unless that is
            floating point.
        pix_fmt: Pixel format, by libav's name.
        colour: Colour to encode with, from `colour_for`; the frame is tagged with it.

    Returns:
        The frame, without time stamp and time base.
    """
    _, H, W = rgb.shape
    if is_float(pix_fmt):
        return _float_frame(rgb, pix_fmt, colour)
    name = plain_format(av.VideoFormat(pix_fmt, W, H))
    layout = av.VideoFormat(name, W, H)
    depth_bits = layout.components[0].bits
    frame = av.VideoFrame(W, H, name)
    rgb = rgb.float()
    if layout.is_rgb:
        codes = rgb.mul(2**depth_bits - 1)
        if layout.is_planar:
            for component, values in zip(layout.components, codes, strict=False):
                _set_plane(frame, component.plane, values, depth_bits)
        else:
            _set_plane(frame, 0, codes.movedim(0, 2).reshape(H, 3 * W), depth_bits)  # (3, H, W) -> (H, 3 * W)
    else:
        black, luma_span, grey, chroma_span = _code_range(depth_bits, colour.full_range)
        kr, kb = colour.luma_weights
        red, green, blue = rgb
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        _set_plane(frame, 0, luma * luma_span + black, depth_bits)
        if len(layout.components) >= 3:
            for index, chroma in (1, (blue - luma) / (2 - 2 * kb)), (2, (red - luma) / (2 - 2 * kr)):
                _set_plane(
                    frame, index, downsample_chroma(chroma, name, colour.siting) * chroma_span + grey, depth_bits
                )
    if name != pix_fmt:
        frame = frame.reformat(format=pix_fmt)  # the same samples in another order
    colour.tag(frame)
    return frame


def is_float(pix_fmt: str) -> bool:
    """Return whether the samples of a pixel format are floating-point numbers."""
    return re.search(r"f(16|32)(le|be)$", pix_fmt) is not None


def _float_samples(frame: av.VideoFrame) -> np.ndarray:
    """Return the samples of a frame of floating-point RGB or grey, (3, H, W), float32; alpha is left out."""
    layout = frame.format
    kind = np.dtype(("<" if layout.name.endswith("le") else ">") + ("f2" if "f16" in layout.name else "f4"))
    planes = [np.frombuffer(p, kind).reshape(-1, p.line_size // kind.itemsize)[: frame.height] for p in frame.planes]
    colours = [c for c in layout.components if not c.is_alpha]
    if layout.is_planar or len(layout.components) == 1:
        samples = np.stack([planes[c.plane][:, : frame.width] for c in colours])
    else:
        num_channels = len(layout.components)
        packed = planes[0][:, : num_channels * frame.width].reshape(frame.height, frame.width, num_channels)
        samples = np.moveaxis(packed[..., : len(colours)], 2, 0)
    return np.array(np.broadcast_to(samples, (3, frame.height, frame.width)), np.float32, order="C")


def _float_frame(rgb: Tensor, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """Return (3, H, W) as a frame of floating-point RGB; nothing is rounded or clipped."""
    _, H, W = rgb.shape
    frame = av.VideoFrame(W, H, "gbrpf32le")
    for component, values in zip(frame.format.components, rgb.float().cpu().numpy(), strict=True):
        plane = frame.planes[component.plane]
        samples = np.zeros((plane.buffer_size // plane.line_size, plane.line_size // 4), "<f4")
        samples[:H, :W] = values
        plane.update(samples.tobytes())
    if pix_fmt != "gbrpf32le":
        frame = frame.reformat(format=pix_fmt)
    colour.tag(frame)
    return frame


def _code_range(depth_bits: int, full_range: bool) -> tuple[float, float, float, float]:
    """Return four codes: black, white minus black, neutral chroma, and chroma of 0.5 minus chroma of -0.5."""
    unit = 2 ** (depth_bits - 8)
    if full_range:
        return 0, 2**depth_bits - 1, 128 * unit, 2**depth_bits - 1
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


def plain_format(layout: av.VideoFormat) -> str:
    """Return the nearest layout that this module converts: planar Y'CbCr, grey or RGB, or rgb24 and rgb48le."""
    name = layout.name
    components = [c for c in layout.components if not c.is_alpha]
    depth_bits = max(c.bits for c in components)
    if name in ("rgb24", "rgb48le"):
        return name
    if layout.is_rgb or layout.has_palette or name.startswith(("xyz", "bayer")):
        if layout.is_planar and len({c.plane for c in components}) == 3 and depth_bits <= 16:
            return name.replace("be", "le")
        return "rgb24" if depth_bits <= 8 else "rgb48le"
    suffix = "" if depth_bits <= 8 else f"{depth_bits}le"
    if len(components) == 1:
        return f"gray{suffix}" if depth_bits in (8, 9, 10, 12, 14, 16) else "gray"
    if layout.is_planar and len({c.plane for c in components}) == 3 and depth_bits <= 16:
        return name.replace("be", "le")
    down, across = chroma_factors(name)
    family = {(2, 2): "420", (1, 2): "422", (1, 1): "444", (2, 1): "440", (1, 4): "411", (4, 4): "410"}[down, across]
    return f"yuv{family}p{suffix}"


def _plane(frame: av.VideoFrame, index: int, depth_bits: int, *, columns: int) -> np.ndarray:
    """Return the samples of a plane, (H, columns): uint8, or int32 if they are wider than a byte."""
    plane = frame.planes[index]
    kind = np.dtype(np.uint8 if depth_bits <= 8 else "<u2")
    samples = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)[: plane.height, :columns]
    return samples.copy() if depth_bits <= 8 else samples.astype(np.int32)


def _set_plane(frame: av.VideoFrame, index: int, codes: Tensor, depth_bits: int) -> None:
    """Round, clip and store (H, columns) as the samples of one plane."""
    plane = frame.planes[index]
    kind = np.dtype(np.uint8 if depth_bits <= 8 else "<u2")
    codes = codes.round().clamp_(0, 2**depth_bits - 1).to(torch.uint8 if depth_bits <= 8 else torch.int32)
    rows, columns = codes.shape
    samples = np.zeros((plane.buffer_size // plane.line_size, plane.line_size // kind.itemsize), kind)
    samples[:rows, :columns] = codes.cpu().numpy()
    plane.update(samples.tobytes())
