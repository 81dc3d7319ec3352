"""Frames as libav holds them to R'G'B' tensors and back.

Written out here because libswscale works in steps of about 8 bits: on the way to 16-bit or float RGB it is half a step
too dark on average, for 10-bit sources too. The arithmetic below is exact in float32. Chroma is enlarged and shrunk
by the Catmull-Rom cubic, at the siting that the frame is tagged with.
"""

import math
from collections.abc import Iterable

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .colour import BOTTOM, BOTTOM_LEFT, CENTRE, TOP, TOP_LEFT, Colour


def read_rgb(frame: av.VideoFrame, colour: Colour, *, device: torch.device | str = "cpu") -> Tensor:
    """A decoded frame as R'G'B'.

    Args:
        frame: Any pixel format; alpha is left out.
        colour: Its colour, as `colour_of` tells it.
        device: Where the conversion runs.

    Returns:
        (3, H, W), float32, nominally in [0, 1]; not clamped, so codes beyond black and white survive.
    """
    frame = _in_plain_layout(frame)
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
        _enlarge(p.sub_(grey).div_(chroma_span), (frame.height, frame.width), layout.name, colour.siting)
        for p in planes[1:]
    )
    kr, kb = colour.luma_weights
    red = luma + 2 * (1 - kr) * cr
    blue = luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return torch.stack([red, green, blue])


def write_rgb(rgb: Tensor, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """R'G'B' as a frame to encode.

    Args:
        rgb: (3, H, W), nominally in [0, 1]; codes are rounded, and clipped to what the format can hold.
        pix_fmt: libav's name of the format.
        colour: Colour to encode with (`colour_for`); the frame is tagged with it.

    Returns:
        The frame, with neither time stamp nor time base.
    """
    _, H, W = rgb.shape
    name = _plain_name(av.VideoFormat(pix_fmt, W, H))
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
            _set_plane(frame, 0, codes.movedim(0, 2).reshape(H, 3 * W), depth_bits)
    else:
        black, luma_span, grey, chroma_span = _code_range(depth_bits, colour.full_range)
        kr, kb = colour.luma_weights
        red, green, blue = rgb
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        _set_plane(frame, 0, luma * luma_span + black, depth_bits)
        if len(layout.components) >= 3:
            for index, chroma in (1, (blue - luma) / (2 - 2 * kb)), (2, (red - luma) / (2 - 2 * kr)):
                _set_plane(frame, index, _shrink(chroma, name, colour.siting) * chroma_span + grey, depth_bits)
    if name != pix_fmt:
        frame = frame.reformat(format=pix_fmt)  # same samples, other order
    colour.tag(frame)
    return frame


def chroma_factors(pix_fmt: str) -> tuple[int, int]:
    """Luma samples per chroma sample, (down, across): (2, 2) for 4:2:0."""
    layout = av.VideoFormat(pix_fmt, 16, 16)
    chroma = [c for c in layout.components if not c.is_alpha][-1]
    return 16 // chroma.height, 16 // chroma.width


def _code_range(depth_bits: int, full_range: bool) -> tuple[float, float, float, float]:
    """Black, codes from black to white, no colour, codes from -0.5 to 0.5 of chroma."""
    unit = 2 ** (depth_bits - 8)
    if full_range:
        return 0, 2**depth_bits - 1, 128 * unit, 2**depth_bits - 1
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


# --- layouts ---------------------------------------------------------------------------------------------------------


def _plain_name(layout: av.VideoFormat) -> str:
    """The nearest layout that is read and written here: planar Y'CbCr, grey or RGB, or rgb24 and rgb48le."""
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


def _in_plain_layout(frame: av.VideoFrame) -> av.VideoFrame:
    name = _plain_name(frame.format)
    return frame if name == frame.format.name else frame.reformat(format=name)


def _plane(frame: av.VideoFrame, index: int, depth_bits: int, *, columns: int) -> np.ndarray:
    """One plane's samples, (H, columns), int32 if they are wider than a byte."""
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


# --- chroma ----------------------------------------------------------------------------------------------------------


def _offsets(factors: tuple[int, int], siting: int) -> tuple[float, float]:
    """Where the first chroma sample sits, in luma samples (down, across).

    Half a sample off the first luma sample along an axis where it is centred. Not tagged means left: centred
    vertically, on the luma column horizontally, as MPEG-2 and H.264 say.
    """
    down, across = factors
    centred_across = siting in (CENTRE, TOP, BOTTOM)
    vertical = 0.0 if siting in (TOP_LEFT, TOP) else (down - 1) if siting in (BOTTOM_LEFT, BOTTOM) else (down - 1) / 2
    return vertical, (across - 1) / 2 if centred_across else 0.0


def catmull_rom(distance: float) -> float:
    """Return the weight of a sample at this distance in the Catmull-Rom cubic kernel (a = -0.5)."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def _enlarge(chroma: Tensor, size: tuple[int, int], pix_fmt: str, siting: int) -> Tensor:
    """(h, w) on the chroma grid -> `size` (H, W) on the luma grid."""
    (height, width), (down, across) = size, chroma_factors(pix_fmt)
    vertical, horizontal = _offsets((down, across), siting)
    chroma = _enlarge_rows(chroma.T, down, vertical).T[:height]
    return _enlarge_rows(chroma, across, horizontal)[:, :width]


def _enlarge_rows(x: Tensor, factor: int, offset: float) -> Tensor:
    """(N, L) -> (N, factor * L): sample j sits at (j - offset) / factor among the given ones."""
    if factor == 1:
        return x
    margin = 3 + factor
    padded = F.pad(x[None], (margin, margin), mode="replicate")[0]
    out = x.new_empty(*x.shape, factor)  # (N, L, phase)
    for phase in range(factor):
        position = (phase - offset) / factor
        first = math.floor(position) - 1
        out[..., phase] = _weighted(
            (catmull_rom(position - tap), padded[:, margin + tap : margin + tap + x.shape[1]])
            for tap in range(first, first + 4)
        )
    return out.flatten(1)


def _shrink(chroma: Tensor, pix_fmt: str, siting: int) -> Tensor:
    """(H, W) on the luma grid -> the chroma grid, rounded up in size."""
    down, across = chroma_factors(pix_fmt)
    vertical, horizontal = _offsets((down, across), siting)
    return _shrink_rows(_shrink_rows(chroma, across, horizontal).T, down, vertical).T


def _shrink_rows(x: Tensor, factor: int, offset: float) -> Tensor:
    """(N, L) -> (N, ceil(L / factor)): sample i is the stretched kernel's mean around factor * i + offset."""
    if factor == 1:
        return x
    length = math.ceil(x.shape[1] / factor)
    taps = range(math.ceil(offset - 2 * factor), math.floor(offset + 2 * factor) + 1)
    weights = [catmull_rom((tap - offset) / factor) for tap in taps]
    margin = 2 * factor
    padded = F.pad(x[None], (margin, margin + 2 * factor), mode="replicate")[0]
    samples = (padded[:, margin + tap :: factor][:, :length] for tap in taps)
    return _weighted(zip(weights, samples, strict=True)) / sum(weights)


def _weighted(terms: Iterable[tuple[float, Tensor]]) -> Tensor:
    """The sum of weight times samples, without the products in memory."""
    (weight, samples), *rest = [term for term in terms if term[0]]
    total = samples * weight
    for weight, samples in rest:
        total.add_(samples, alpha=weight)
    return total
