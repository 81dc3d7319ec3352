"""Training examples of each task: input and target, drawn from a library of clean clips."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrt_core import estimate_sigma
from vrt_core.network.extensions.frequency_prior import FrequencyPrior

from ..evaluation.metrics import psnr
from .camera_noise import add_camera_noise, add_film_grain, compress
from .config import DataConfig
from .degradations import add_noise, blur_down, enlarge, round_to_8bit, shrink
from .library import Clip, Library
from .photos import Exposure

MAX_BLURRED_DB = 35.0  # PSNR of a blurred clip; sharper ones teach little and are drawn again
MAX_BLUR_DRAWS = 5
PRIOR_MARGIN_FRAMES, PRIOR_MARGIN_PX = 2, 12  # on every side of a crop, so that its frequency prior has no border
MIN_ESTIMATE_PX = 128
"""Side of the clips whose noise level is estimated: smaller ones give less reliable estimates."""
REPEATED_END_SHARE = 0.3  # of the interpolation clips: the first or last frame is repeated, as at the ends of a video


class Example(NamedTuple):
    """One input and its target, or several of them stacked on a leading axis."""

    input: Tensor
    """Input of the network, (T, C, H, W)."""
    target: Tensor
    """Expected output, (T', 3, sH, sW) in [0, 1]."""
    backward: Tensor
    """Flow of input frame t to t+1, (T-1, 2, H, W), pixels; zeros if unknown. For interpolation, the displacement
    between the two middle frames on the grid of the target, (1, 2, H, W)."""
    forward: Tensor
    """Flow of input frame t+1 to t; zeros for interpolation."""
    has_flow: Tensor
    """Whether the flows are known; a bool."""


def denoise(rng: np.random.Generator, library: Library, config: DataConfig) -> Example:
    """Add Gaussian noise, camera noise or film grain, optionally compress.

    The noise level is the fourth channel of the input. For networks with a frequency prior, its estimate follows as
    channels 5 to 7.
    """
    margin_frames, margin_px = (PRIOR_MARGIN_FRAMES, PRIOR_MARGIN_PX) if config.prior_step_px else (0, 0)
    if config.camera_share or config.compressed_share or config.clean_share:
        margin_px = max(margin_px, (MIN_ESTIMATE_PX - config.crop_px) // 2)
    clip = library.draw(rng, config.num_frames + 2 * margin_frames, config.crop_px + 2 * margin_px, config.film_share)
    sigma_255 = float(rng.uniform(*config.sigma_255))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    is_clean = with_probability(rng, config.clean_share)
    has_camera_noise = not is_clean and with_probability(rng, config.camera_share)
    if is_clean:
        noisy = clip.frames
    elif has_camera_noise and with_probability(rng, config.grain_share):
        noisy = add_film_grain(
            clip.frames, float(rng.uniform(*config.grain_255)), float(rng.uniform(*config.grain_px)), generator
        )
    elif has_camera_noise:
        shot, read = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (config.shot, config.read))
        noisy = add_camera_noise(clip.frames, shot, read, generator)
    else:
        noisy = add_noise(clip.frames, sigma_255, generator)[:, :3]
    compressed = maybe_compress(rng, noisy, config)
    if is_clean or has_camera_noise or compressed is not noisy:
        noisy = round_to_8bit(compressed)
        sigma_255 = estimate_sigma(noisy, coloured=bool(config.prior_step_px))
    noise_level = torch.full_like(noisy[:, :1], sigma_255 / 255)
    inputs = torch.cat([noisy, noise_level], dim=1)  # (T, 4, H, W)
    if config.prior_step_px:
        inputs = _crop(inputs, 0, margin_px - PRIOR_MARGIN_PX)
        margin_px = PRIOR_MARGIN_PX
        estimate = FrequencyPrior(config.prior_step_px)(inputs[None, :, :3], inputs[None, :, 3:])[0]
        inputs = torch.cat([inputs, estimate], dim=1)  # (T, 7, H, W)
    outer_px = (clip.frames.shape[-1] - config.crop_px) // 2
    frames, backward, forward = (_crop(field, margin_frames, outer_px) for field in clip[:3])
    return Example(_crop(inputs, margin_frames, margin_px), frames, backward, forward, torch.tensor(clip.has_flow))


def _crop(clip: Tensor, margin_frames: int, margin_px: int) -> Tensor:
    """Cut a margin off every side of a clip (T, C, H, W)."""
    T, _, H, W = clip.shape
    rows, columns = (slice(margin_px, size - margin_px) for size in (H, W))
    return clip[margin_frames : T - margin_frames, :, rows, columns].contiguous()


def with_probability(rng: np.random.Generator, probability: float) -> bool:
    """Draw whether an event happens. Draws no number for probability 0, so that options that are off change nothing."""
    return probability > 0 and rng.random() < probability


def maybe_compress(rng: np.random.Generator, clip: Tensor, config: DataConfig) -> Tensor:
    """Compress a clip (T, 3, H, W) with probability ``config.compressed_share``; otherwise return the same object."""
    if not with_probability(rng, config.compressed_share):
        return clip
    return compress(clip, str(rng.choice(config.codecs)), int(rng.integers(config.crf[0], config.crf[1] + 1)))


def sr(rng: np.random.Generator, library: Library, config: DataConfig) -> Example:
    """Downscale a clip and round it to 8 bits, as a file would."""
    clip = library.draw(rng, config.num_frames, config.scale * config.crop_px, config.film_share)
    reduce = shrink if config.reduction == "bicubic" else blur_down
    inputs = maybe_compress(rng, round_to_8bit(reduce(clip.frames, config.scale)), config)
    backward, forward = (F.avg_pool2d(flow, config.scale) / config.scale for flow in (clip.backward, clip.forward))
    return Example(inputs, clip.frames, backward, forward, torch.tensor(clip.has_flow))


def deblur(rng: np.random.Generator, library: Library, config: DataConfig) -> Example:
    """Average the subframes of a moving photo, or of a film of a high frame rate; the target is the middle subframe."""
    clip, blurred = _draw_blurred(rng, library, config)
    num_draws = 1
    while num_draws < MAX_BLUR_DRAWS and psnr(blurred, clip.frames) >= MAX_BLURRED_DB:
        clip, blurred = _draw_blurred(rng, library, config)
        num_draws += 1
    inputs = maybe_compress(rng, round_to_8bit(blurred), config)
    return Example(inputs, clip.frames, clip.backward, clip.forward, torch.tensor(clip.has_flow))


def _draw_blurred(rng: np.random.Generator, library: Library, config: DataConfig) -> tuple[Clip, Tensor]:
    """Draw a sharp clip, and the same clip with motion blur, (T, 3, H, W)."""
    exposure = Exposure(
        subframes=int(rng.choice(config.subframes)),
        shutter=float(rng.uniform(*config.shutter)),
        speed_px=config.speed_px,
    )
    clip = library.draw(rng, config.num_frames, config.crop_px, config.film_share, exposure)
    subframes = clip.frames.unflatten(0, (config.num_frames, exposure.subframes))  # (T, S, 3, H, W)
    sharp = subframes[:, exposure.subframes // 2].contiguous()  # (T, 3, H, W)
    return clip._replace(frames=sharp), subframes.mean(dim=1)


def interpolate(rng: np.random.Generator, library: Library, config: DataConfig) -> Example:
    """Take every second frame as input and the omitted frame in the middle as target."""
    clip = library.draw(rng, 2 * config.num_frames - 1, config.crop_px, config.film_share)
    frames = clip.frames[::2].clone()
    if rng.random() < REPEATED_END_SHARE:
        repeat_first, repeat_last = ((True, False), (False, True), (True, True))[rng.integers(3)]
        half = config.num_frames // 2
        if repeat_first:
            frames[: half - 1] = frames[half - 1].clone()
        if repeat_last:
            frames[half + 1 :] = frames[half].clone()
    middle = config.num_frames - 1
    displacement = clip.backward[middle : middle + 1] - clip.forward[middle - 1 : middle]  # (1, 2, H, W)
    target = clip.frames[middle : middle + 1].contiguous()  # (1, 3, H, W)
    return Example(frames, target, displacement, torch.zeros_like(displacement), torch.tensor(clip.has_flow))


TASKS: dict[str, Callable[[np.random.Generator, Library, DataConfig], Example]] = {
    "denoise": denoise,
    "sr": sr,
    "deblur": deblur,
    "interpolate": interpolate,
}
"""The function that draws one example of each task."""


def baseline(task: str, inputs: Tensor, scale: int) -> Tensor:
    """Return the trivial solution of a task: (..., T, C, H, W) -> (..., T', 3, sH, sW).

    It is the input itself or the frequency prior's estimate of it, its bicubic enlargement (SR), or the mean of the two
    middle frames (interpolation).
    """
    rgb = inputs[..., :3, :, :] if inputs.shape[-3] <= 4 else inputs[..., -3:, :, :]
    if task == "sr":
        return enlarge(rgb, scale)
    if task == "interpolate":
        half = rgb.shape[-4] // 2
        return rgb[..., half - 1 : half + 1, :, :, :].mean(dim=-4, keepdim=True)
    return rgb
