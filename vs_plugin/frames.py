"""Frames of VapourSynth to tensors and back: the only place that knows how a frame lies in memory.

A plane is a 2-D buffer whose rows are padded, so one copy per plane into a tensor of our own is the least there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
import vapoursynth as vs
from torch import Tensor

from vrt_core import OPTIONS

from .callbacks import modify_frame


def read_frames(frames: Sequence[vs.VideoFrame]) -> Tensor:
    """Copy frames of one size, of half or float samples.

    Args:
        frames: T frames, at least one.

    Returns:
        (T, C, H, W), float32, planes as the frames have them: neither scaled nor clamped.
    """
    first = frames[0]
    clip = torch.empty((len(frames), first.format.num_planes, first.height, first.width), dtype=torch.float32)
    planes = clip.numpy()  # shares the memory: copyto reads padded rows and widens half to float on the way
    for t, frame in enumerate(frames):
        for c in range(first.format.num_planes):
            np.copyto(planes[t, c], np.asarray(frame[c]))
    return clip


def read_levels(frames: Sequence[vs.VideoFrame], first: int) -> Tensor:
    """Copy noise levels, GRAYS or GRAYH frames of sigma in 8-bit units, for use as a fourth channel.

    Args:
        frames: T frames, at least one.
        first: Number of the first, for errors.

    Returns:
        (T, 1, H, W) float32, sigma / 255.

    Raises:
        vs.Error: If a level is out of range.
    """
    sigma_255, most = read_frames(frames), OPTIONS["sigma_255"].most
    assert most is not None
    for n, level in enumerate(sigma_255, start=first):
        low, high = level.min().item(), level.max().item()
        if not 0 <= low <= high <= most:
            raise vs.Error(
                f"vrt: frame {n} of the clip sigma holds {low:.4g} to {high:.4g}; it must hold 0 to {most:g}, "
                "in 8-bit units"
            )
    return sigma_255 / 255


def write_frame(rgb: Tensor, vs_format: vs.VideoFormat, props: Mapping[str, Any]) -> vs.VideoFrame:
    """Copy one frame out of a tensor on any device.

    Args:
        rgb: (3, H, W), any float type; rounded to that of ``vs_format``.
        vs_format: RGBS or RGBH.
        props: Frame properties of the result, all of them: a new frame has none.
    """
    _, H, W = rgb.shape
    frame = vs.core.create_video_frame(vs_format, W, H)
    for c, plane in enumerate(rgb):
        torch.from_numpy(np.asarray(frame[c])).copy_(plane)
    frame.props.update(props)
    return frame


def converted(clip: vs.VideoNode, vs_format: vs.VideoFormat) -> vs.VideoNode:
    """Return the clip in another format of its family, rounded to the nearest, with all properties."""
    std = cast(Any, vs.core).std
    if clip.format.id == vs_format.id:
        return clip
    blank = std.BlankClip(clip, format=vs_format.id, keep=True)
    result = modify_frame(blank, clip, lambda n, f: write_frame(read_frames([f])[0], vs_format, f.props))
    std.SetVideoCache(result, mode=0)
    return result
