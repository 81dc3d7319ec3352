"""DFTTest as a baseline of denoising: a VapourSynth plugin that filters the DFT of blocks of frames.

Needs the extra "evaluation", which installs VapourSynth and the plugin dfttest2_cpu.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrt_core.network.extensions.frequency_prior import opponent_colours

BLOCK_PX, STEP_PX, RADIUS = 16, 4, 2  # blocks of 5 frames
STRENGTH = 2.0  # in units of sigma; the best of 1, 1.5, 2 and 2.5 for the mean of the evaluation clips at sigma 30


def reason_to_skip() -> str | None:
    """Return why the baseline cannot run here; None if it can."""
    try:
        import vapoursynth
    except ImportError as error:
        return f"DFTTest is left out: {error}; pip install '.[evaluation]'"
    if not hasattr(vapoursynth.core, "dfttest2_cpu"):
        return "DFTTest is left out: VapourSynth has no plugin dfttest2_cpu; pip install '.[evaluation]'"
    return None


def dfttest(clip: Tensor, sigma_255: float, strength: float = STRENGTH) -> Tensor:
    """Denoise a clip (T, 3, H, W) of a known noise level, in orthonormal opponent colours.

    Args:
        clip: RGB, H and W at least 16.
        sigma_255: Standard deviation of the noise, in 8-bit steps.
        strength: Factor on ``sigma_255``.
    """
    colours = opponent_colours()
    planes = torch.einsum("ij,tjhw->ithw", colours, clip)
    filtered = torch.stack([_filter_plane(plane, strength * sigma_255) for plane in planes])
    return torch.einsum("ij,ithw->tjhw", colours, filtered)


def _filter_plane(plane: Tensor, sigma_255: float) -> Tensor:
    """Filter a plane (T, H, W)."""
    import vapoursynth

    core: Any = vapoursynth.core
    frames = 2 * RADIUS + 1
    sine = torch.sin(math.pi * (torch.arange(BLOCK_PX) + 0.5) / BLOCK_PX)
    window = (sine[:, None] * sine) / (BLOCK_PX / STEP_PX / 2)  # its square adds up to 1 over all blocks
    window = (window / math.sqrt(frames * BLOCK_PX**2)).repeat(frames, 1, 1)  # the plugin's DFT is not normalised
    variance = sigma_255**2 * float(window.square().sum())
    filtered = core.dfttest2_cpu.DFTTest(
        _to_clip(plane),
        window=window.flatten().tolist(),
        sigma=[variance] * (frames * BLOCK_PX * (BLOCK_PX // 2 + 1)),
        sigma2=0.0,
        pmin=0.0,
        pmax=500.0,
        filter_type=0,
        radius=RADIUS,
        block_size=BLOCK_PX,
        block_step=STEP_PX,
        zero_mean=1,
        window_freq=torch.view_as_real(torch.fft.rfftn(window)).flatten().tolist(),
    )
    return torch.stack([torch.from_numpy(np.asarray(frame[0]).copy()) for frame in filtered.frames()])


def _to_clip(plane: Tensor) -> Any:
    import vapoursynth as vs

    T, H, W = plane.shape
    core: Any = vs.core
    blank = core.std.BlankClip(format=vs.GRAYS, width=W, height=H, length=T)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.copyto(np.asarray(frame[0]), plane[n].numpy())
        return frame

    return core.std.ModifyFrame(blank, blank, fill)
