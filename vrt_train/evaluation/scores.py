"""Scores of each task: a model and its baselines on degraded versions of the evaluation clips.

PSNR is in dB of 8-bit RGB over all pixels, the mean of the frames.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vrt_core import Restorer, estimate_sigma

from ..data.camera_noise import add_camera_noise, add_film_grain, compress
from ..data.degradations import add_noise, enlarge, round_to_8bit, shrink
from ..data.examples import MAX_BLURRED_DB
from ..data.images import to_images
from ..data.photos import Exposure, MovingPhotos
from . import baselines, dfttest
from .clips import CLIPS, NUM_FRAMES, read_clip, read_frames, read_sr_clip
from .flicker import flicker_255
from .metrics import psnr, ssim

Rows = dict[str, dict[str, float]]
"""Scores by clip, then by method."""

NUM_FLICKER_DRAWS = 2  # moving photos of each video
BLUR = Exposure(subframes=9, shutter=0.8, speed_px=(3.0, 10.0))
MOVING_SIZE_PX = 128  # side of the clips that the generator of moving photos makes
NUM_BLUR_DRAWS = 3
NOISE_RATIOS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # of the Wiener filter; the best one for each clip is scored
BM3D_FRAME = 3  # BM3D takes seconds for a frame, so only this frame of each clip is scored
CAMERAS = {
    "low light": (1.5e-2, 6e-3),
    "indoors": (8e-3, 4e-3),
    "dim": (5e-3, 3e-3),
    "day": (1.5e-3, 1e-3),
}  # shot and read noise, see add_camera_noise
FOOTAGE: dict[str, tuple[str, int | None]] = {
    "low light, no codec": ("low light", None),
    "low light, crf 20": ("low light", 20),
    "indoors, crf 20": ("indoors", 20),
    "indoors, crf 25": ("indoors", 25),
    "indoors, crf 30": ("indoors", 30),
    "dim, crf 20": ("dim", 20),
    "dim, crf 26": ("dim", 26),
    "day, crf 20": ("day", 20),
    "film grain, crf 20": ("film grain", 20),
    "Gaussian, sigma 10": ("Gaussian", None),
    "clean": ("clean", None),
}
"""Degradations of footage: a key of ``CAMERAS`` or another kind of noise, and the crf of x264, if it is compressed."""
GRAIN_255, GRAIN_PX = 8.0, 0.6
DFTTEST_STRENGTHS = (1.0, 1.4, 2.0, 2.8, 4.0)
"""Strengths of DFTTest on footage, in units of the true RMS error; the best for each clip is scored."""
# radius and amount of the unsharp mask; the best pair for each clip is scored
UNSHARP = tuple((radius, amount) for radius in (1.0, 2.0, 3.0) for amount in (0.5, 1.0, 2.0))


def score_denoise(restorer: Restorer, folder: Path, sigma_255: float = 30.0, with_bm3d: bool = False) -> Rows:
    """Score denoising of Gaussian noise of a known sigma (8-bit steps), neither clipped nor rounded."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        clean = read_clip(folder, clip)
        noisy = add_noise(clean, sigma_255, torch.Generator().manual_seed(100 + i))[:, :3]
        restored = restorer.restore(noisy, sigma_255=sigma_255)
        rows[name] = {"noisy": psnr(noisy, clean)} | _psnr_and_ssim("restored", restored, clean)
        if with_bm3d:
            rows[name] |= _bm3d(noisy, clean, sigma_255)
        if dfttest.reason_to_skip() is None:
            rows[name]["dfttest"] = psnr(dfttest.dfttest(noisy, sigma_255), clean)
    return rows


def score_footage(restorer: Restorer, folder: Path, degradation: str, with_bm3d: bool = False) -> Rows:
    """Score denoising of footage, degraded as a key of ``FOOTAGE`` says; sigma is estimated."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        clean = read_clip(folder, clip)
        noisy = degrade_footage(clean, degradation, torch.Generator().manual_seed(100 + i))
        sigma_255 = estimate_sigma(noisy, coloured=bool(restorer.runners[0].network.config.prior_step_px))
        restored = restorer.restore(noisy, sigma_255=sigma_255)
        rows[name] = {"sigma": sigma_255, "noisy": psnr(noisy, clean)} | _psnr_and_ssim("restored", restored, clean)
        if with_bm3d:
            rows[name] |= _bm3d(noisy, clean, sigma_255)
        if dfttest.reason_to_skip() is None:
            rows[name]["dfttest"] = best_dfttest(noisy, clean)
    return rows


def degrade_footage(clean: Tensor, degradation: str, generator: torch.Generator) -> Tensor:
    """Add the noise of a key of ``FOOTAGE`` to a clip (T, 3, H, W), round it to 8 bits, and compress it."""
    noise, crf = FOOTAGE[degradation]
    if noise in CAMERAS:
        noisy = add_camera_noise(clean, *CAMERAS[noise], generator)
    elif noise == "film grain":
        noisy = add_film_grain(clean, GRAIN_255, GRAIN_PX, generator)
    else:
        noisy = add_noise(clean, {"Gaussian": 10.0, "clean": 0.0}[noise], generator)[:, :3]
    noisy = round_to_8bit(noisy)
    return noisy if crf is None else compress(noisy, "libx264", crf)


def best_dfttest(noisy: Tensor, clean: Tensor) -> float:
    """Return the highest PSNR of DFTTest over ``DFTTEST_STRENGTHS``, which needs the clean clip."""
    rms_255 = 255 * float((noisy - clean).square().mean().sqrt())
    return max(psnr(dfttest.dfttest(noisy, rms_255, strength), clean) for strength in DFTTEST_STRENGTHS)


def _bm3d(noisy: Tensor, clean: Tensor, sigma_255: float) -> dict[str, float]:
    frame = slice(BM3D_FRAME, BM3D_FRAME + 1)
    return {"bm3d": psnr(baselines.bm3d(noisy[BM3D_FRAME], sigma_255)[None], clean[frame])}


def score_sr(restorer: Restorer, folder: Path) -> Rows:
    """Score SR x4 of frames that are downscaled by antialiased bicubic filtering and rounded to 8 bits."""
    rows: Rows = {}
    for name, clip in CLIPS.items():
        large = read_sr_clip(folder, clip)
        small = round_to_8bit(shrink(large, 4))
        rows[name] = {
            "bicubic": psnr(enlarge(small, 4), large),
            "lanczos": psnr(baselines.lanczos(small, 4), large),
        } | _psnr_and_ssim("restored", restorer.restore(small), large)
    return rows


def score_interpolate(restorer: Restorer, folder: Path) -> Rows:
    """Score frames 1 to 4, each interpolated from its neighbours in the clip of every second frame."""
    rows: Rows = {}
    for name, clip in CLIPS.items():
        frames = read_clip(folder, clip)
        targets = frames[1 : NUM_FRAMES - 1]

        def interpolate_all(method: Callable[[Tensor], Tensor], frames: Tensor = frames) -> Tensor:
            odd, even = method(frames[0::2]), method(frames[1::2])
            return torch.stack([odd[0], even[0], odd[1], even[1]])  # frames 1, 2, 3, 4

        rows[name] = {
            "average": psnr((frames[:-2] + frames[2:]) / 2, targets),
            "minterpolate": psnr(interpolate_all(baselines.minterpolate), targets),
        } | _psnr_and_ssim("restored", interpolate_all(lambda x: restorer.restore(x)[1::2]), targets)
    return rows


def score_flicker(restorer: Restorer, folder: Path, sigma_255: float = 30.0, with_bm3d: bool = False) -> Rows:
    """Score flicker: the change along the exact motion (8-bit steps) of noisy moving photos, one of each video."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        photos = MovingPhotos([to_images(read_frames(folder / clip.file, clip.start, 1))[0]])
        draws = []
        for draw in range(NUM_FLICKER_DRAWS):
            rng = np.random.default_rng([200, i, draw])
            clean, to_next, _ = photos.draw(rng, 2 * NUM_FRAMES, MOVING_SIZE_PX, layers=1)
            noisy = add_noise(clean, sigma_255, torch.Generator().manual_seed(100 + i))[:, :3]
            outputs = {"clean": clean, "noisy": noisy, "restored": restorer.restore(noisy, sigma_255=sigma_255)}
            if with_bm3d:
                outputs["bm3d"] = torch.stack([baselines.bm3d(frame, sigma_255) for frame in noisy])
            draws.append({method: flicker_255(clip.clamp(0, 1), to_next) for method, clip in outputs.items()})
        rows[name] = _means(draws)
    return rows


def draw_blurred(photo: np.ndarray, seed: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Draw a moving photo with motion blur.

    Args:
        photo: (H, W, 3) uint8.
        seed: Seed of the motion.

    Returns:
        The blurred and the sharp clip, (6, 3, 128, 128) each, and the path of the background's middle pixel during
        each exposure, (6, subframes, 2) in (x, y) pixels.
    """
    photos = MovingPhotos([photo])
    rng = np.random.default_rng([100, seed])
    while True:
        clip, _, _, motion = photos.draw_with_motion(rng, NUM_FRAMES, MOVING_SIZE_PX, exposure=BLUR)
        subframes = clip.unflatten(0, (NUM_FRAMES, BLUR.subframes))  # (T, S, 3, H, W)
        blurred, sharp = round_to_8bit(subframes.mean(dim=1)), subframes[:, BLUR.subframes // 2].contiguous()
        if psnr(blurred, sharp) < MAX_BLURRED_DB:
            break
    centre = np.array([(MOVING_SIZE_PX - 1) / 2] * 2 + [1.0])
    motion = motion.reshape(NUM_FRAMES, BLUR.subframes, 3, 3)
    middle = np.linalg.inv(motion[:, BLUR.subframes // 2])[:, None]
    path = (middle @ motion @ centre)[..., :2] - centre[:2]
    return blurred, sharp, path


def score_deblur(restorer: Restorer, folder: Path) -> Rows:
    """Score deblurring of moving photos, frames of each video: the mean of 9 subframes over 0.8 of the frame time."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        photo = to_images(read_frames(folder / clip.file, clip.start, 1))[0]
        draws = []
        for draw in range(NUM_BLUR_DRAWS):
            blurred, sharp, path = draw_blurred(photo, NUM_BLUR_DRAWS * i + draw)
            restored = restorer.restore(blurred)
            row = {"blurred": psnr(blurred, sharp), "unsharp": best_unsharp(blurred, sharp)}
            row |= {"wiener": best_wiener(blurred, sharp, path)} | _psnr_and_ssim("restored", restored, sharp)
            draws.append(row)
        rows[name] = _means(draws)
    return rows


def best_unsharp(blurred: Tensor, sharp: Tensor) -> float:
    """Return the highest PSNR of the unsharp masks in ``UNSHARP``."""
    return max(psnr(baselines.unsharp_mask(blurred, radius, amount), sharp) for radius, amount in UNSHARP)


def best_wiener(blurred: Tensor, sharp: Tensor, path: np.ndarray) -> float:
    """Return the highest PSNR over ``NOISE_RATIOS`` of the Wiener filter with the exact path of the background."""
    kernels = [baselines.motion_kernel(p) for p in path]
    return max(
        psnr(torch.stack([baselines.wiener(x, k, ratio) for x, k in zip(blurred, kernels, strict=True)]), sharp)
        for ratio in NOISE_RATIOS
    )


def _psnr_and_ssim(name: str, output: Tensor, target: Tensor) -> dict[str, float]:
    return {name: psnr(output, target), "ssim": ssim(output, target)}


def with_mean(rows: Rows) -> Rows:
    """Add the row "mean": the mean over the clips."""
    return rows | {"mean": _means(list(rows.values()))}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {method: float(np.mean([row[method] for row in rows])) for method in rows[0]}


SCORES: dict[str, Callable[[Restorer, Path], Rows]] = {
    "sr": score_sr,
    "interpolate": score_interpolate,
    "deblur": score_deblur,
}
"""The function that scores each task without noise."""
