"""Conversion between VapourSynth frames and tensors, and the callbacks in which it happens.

The rows of a plane are padded, so one copy per plane cannot be avoided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import vapoursynth as vs
from torch import Tensor

from vrt_core import OPTIONS
from vrt_core.hardware import use_one_openmp_thread

from .core import disable_cache, std


def read_frames(frames: Sequence[vs.VideoFrame]) -> Tensor:
    """Copy frames of one size with fp16 or fp32 samples.

    Args:
        frames: T frames, at least one.

    Returns:
        (T, C, H, W) float32, with the planes and values of the frames: neither scaled nor clamped.
    """
    first = frames[0]
    clip = torch.empty((len(frames), first.format.num_planes, first.height, first.width), dtype=torch.float32)
    planes = clip.numpy()  # a view: copyto reads the padded rows, and converts fp16 to fp32
    for t, frame in enumerate(frames):
        for c in range(first.format.num_planes):
            np.copyto(planes[t, c], np.asarray(frame[c]))
    return clip


def read_noise_levels(frames: Sequence[vs.VideoFrame], first: int) -> Tensor:
    """Copy noise levels, GRAYS or GRAYH frames of sigma in 8-bit units, for use as a fourth channel.

    Args:
        frames: T frames, at least one.
        first: Number of the first frame, for errors.

    Returns:
        (T, 1, H, W) float32, sigma / 255.

    Raises:
        vs.Error: If a level is out of range.
    """
    sigma_255, max_sigma_255 = read_frames(frames), OPTIONS["sigma_255"].max
    assert max_sigma_255 is not None
    for n, level in enumerate(sigma_255, start=first):
        low, high = level.min().item(), level.max().item()
        if not 0 <= low <= high <= max_sigma_255:
            raise vs.Error(
                f"vrt: frame {n} of the clip sigma holds {low:.4g} to {high:.4g}; it must hold 0 to "
                f"{max_sigma_255:g}, in 8-bit units"
            )
    return sigma_255 / 255


def write_frame(rgb: Tensor, vs_format: vs.VideoFormat, props: Mapping[str, Any]) -> vs.VideoFrame:
    """Copy one frame out of a tensor on any device.

    Args:
        rgb: (3, H, W) of any floating dtype; rounded to the sample type of ``vs_format``.
        vs_format: RGBS or RGBH.
        props: All frame properties of the result; a new frame has none.
    """
    _, H, W = rgb.shape
    frame = vs.core.create_video_frame(vs_format, W, H)
    for c, plane in enumerate(rgb):
        torch.from_numpy(np.asarray(frame[c])).copy_(plane)
    frame.props.update(props)
    return frame


def convert_format(clip: vs.VideoNode, vs_format: vs.VideoFormat) -> vs.VideoNode:
    """Return the clip as RGBS or RGBH, rounded to the nearest value, with all properties."""
    if clip.format.id == vs_format.id:
        return clip
    template = std().BlankClip(clip, format=vs_format.id, keep=True)
    result = modify_frame(template, clip, lambda n, f: write_frame(read_frames([f])[0], vs_format, f.props))
    disable_cache(result)
    return result


def modify_frame(
    template: vs.VideoNode, clips: vs.VideoNode | Sequence[vs.VideoNode], callback: Callable[[int, Any], vs.VideoFrame]
) -> vs.VideoNode:
    """Return ``std.ModifyFrame`` with a callback that uses one OpenMP thread.

    VapourSynth calls it in any of its threads; with more OpenMP threads in each, they would slow the network.
    """

    def call(n: int, f: Any) -> vs.VideoFrame:
        use_one_openmp_thread()
        return callback(n, f)

    return std().ModifyFrame(template, clips, call)
