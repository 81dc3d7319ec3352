"""What each task learns from: clean clips in, pairs of input and target out; functions of the random generator."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrt_core import estimate_sigma

from ..evaluation.metrics import psnr
from .camera_noise import add_camera_noise, compress
from .degradations import add_noise, blur_down, enlarge, round_to_8bit, shrink
from .photos import Exposure

if TYPE_CHECKING:
    from .dataset import DataConfig, Library

BLURRED_DB, BLUR_TRIES = 35.0, 5  # clips that are hardly blurred teach little and are drawn again
HELD_END_SHARE = 0.3  # of the interpolation clips that begin or end a video: its first or last frame stands in


class Example(NamedTuple):
    """One pair to learn from, or several of them stacked on a leading axis."""

    input: Tensor
    """What the network sees, (T, C, H, W)."""
    target: Tensor
    """What it should make of it, (T', 3, sH, sW) in [0, 1]."""
    backward: Tensor
    """Flow of input frame t to t+1, (T-1, 2, H, W), pixels; zeros if not known. For interpolation, the displacement
    between the two middle frames on the grid of the target, (1, 2, H, W)."""
    forward: Tensor
    """Flow of input frame t+1 to t; zeros for interpolation."""
    has_flow: Tensor
    """Whether the flows are known; a bool."""


def denoise(rng: np.random.Generator, library: "Library", config: "DataConfig") -> Example:
    """Gaussian noise of a random level, or what cameras and codecs do; the level comes as a fourth channel."""
    clip = library.draw(rng, config.num_frames, config.crop_px, config.film_share)
    sigma_255 = float(rng.uniform(*config.sigma_255))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    by_camera = happens(rng, config.camera_share)
    if by_camera:
        shot, read = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (config.shot, config.read))
        noisy = add_camera_noise(clip.frames, shot, read, generator)
    else:
        noisy = add_noise(clip.frames, sigma_255, generator)[:, :3]
    filed = into_file(rng, noisy, config)
    if by_camera or filed is not noisy:
        noisy = round_to_8bit(filed)
        sigma_255 = estimate_sigma(noisy)
    seen = torch.cat([noisy, torch.full_like(noisy[:, :1], sigma_255 / 255)], dim=1)
    return Example(seen, clip.frames, clip.backward, clip.forward, torch.tensor(clip.has_flow))


def happens(rng: np.random.Generator, share: float) -> bool:
    """Whether something that is done to a share of the clips is done now; draws nothing if it never is."""
    return share > 0 and rng.random() < share


def into_file(rng: np.random.Generator, clip: Tensor, config: "DataConfig") -> Tensor:
    """Return what a file keeps of a clip (T, 3, H, W); the clip itself if this one is not compressed."""
    if not happens(rng, config.compressed_share):
        return clip
    return compress(clip, str(rng.choice(config.codecs)), int(rng.integers(config.crf[0], config.crf[1] + 1)))


def sr(rng: np.random.Generator, library: "Library", config: "DataConfig") -> Example:
    """Reduction, rounded to 8 bit as a file would be."""
    clip = library.draw(rng, config.num_frames, config.scale * config.crop_px, config.film_share)
    reduce = shrink if config.reduction == "bicubic" else blur_down
    small = into_file(rng, round_to_8bit(reduce(clip.frames, config.scale)), config)
    backward, forward = (F.avg_pool2d(flow, config.scale) / config.scale for flow in (clip.backward, clip.forward))
    return Example(small, clip.frames, backward, forward, torch.tensor(clip.has_flow))


def deblur(rng: np.random.Generator, library: "Library", config: "DataConfig") -> Example:
    """The mean of what a photo moves through, or of frames of a fast film, while the shutter is open."""
    tries = BLUR_TRIES
    while True:
        exposure = Exposure(
            subframes=int(rng.choice(config.subframes)),
            shutter=float(rng.uniform(*config.shutter)),
            speed_px=config.speed_px,
        )
        clip = library.draw(rng, config.num_frames, config.crop_px, config.film_share, exposure)
        subframes = clip.frames.unflatten(0, (config.num_frames, exposure.subframes))
        blurred, sharp = subframes.mean(dim=1), subframes[:, exposure.subframes // 2].contiguous()
        tries -= 1
        if not tries or psnr(blurred, sharp) < BLURRED_DB:
            break
    blurred = into_file(rng, round_to_8bit(blurred), config)
    return Example(blurred, sharp, clip.backward, clip.forward, torch.tensor(clip.has_flow))


def interpolate(rng: np.random.Generator, library: "Library", config: "DataConfig") -> Example:
    """Every second frame; the one in the middle is what is missing."""
    count = 2 * config.num_frames - 1
    clip = library.draw(rng, count, config.crop_px, config.film_share)
    frames, middle = clip.frames[::2].clone(), count // 2
    if rng.random() < HELD_END_SHARE:
        first, last = ((True, False), (False, True), (True, True))[rng.integers(3)]
        half = config.num_frames // 2
        if first:
            frames[: half - 1] = frames[half - 1].clone()
        if last:
            frames[half + 1 :] = frames[half].clone()
    displacement = clip.backward[middle : middle + 1] - clip.forward[middle - 1 : middle]
    target = clip.frames[middle : middle + 1].contiguous()
    return Example(frames, target, displacement, torch.zeros_like(displacement), torch.tensor(clip.has_flow))


TASKS: dict[str, Callable[[np.random.Generator, "Library", "DataConfig"], Example]] = {
    "denoise": denoise,
    "sr": sr,
    "deblur": deblur,
    "interpolate": interpolate,
}
"""Makes one example; by the name that a configuration gives."""


def baseline(task: str, seen: Tensor, scale: int) -> Tensor:
    """Return the trivial answer that a network must beat: (..., T, C, H, W) -> (..., T', 3, sH, sW)."""
    rgb = seen[..., :3, :, :]
    if task == "sr":
        return enlarge(rgb, scale)
    if task == "interpolate":
        half = rgb.shape[-4] // 2
        return rgb[..., half - 1 : half + 1, :, :, :].mean(dim=-4, keepdim=True)
    return rgb
