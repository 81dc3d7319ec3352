"""Score a model and its baselines on real videos: ``python -m vrt_train.evaluate MODEL --clips DIR``.

The clips are fetched into the folder where they are missing (see ``clips``). PSNR in dB of 8-bit RGB, all pixels, mean
of the frames, as everything that is restored is clipped and rounded first.
"""

import logging
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from vrt_core import Restorer, estimate_sigma, load_restorer

from .data.camera_noise import add_camera_noise, compress
from .data.degradations import add_noise, enlarge, round_to_8bit, shrink
from .data.examples import BLURRED_DB
from .data.photos import Exposure, MovingPhotos
from .evaluation import baselines
from .evaluation.clips import CLIPS, NUM_FRAMES, fetch_clips, read_clip, read_frames, read_sr_clip
from .evaluation.flicker import flicker_255
from .evaluation.metrics import psnr, ssim

log = logging.getLogger(__name__)

Rows = dict[str, dict[str, float]]
"""Scores by clip, then by method."""

FLICKER_PHOTOS = 2  # moving photos of each video
BLUR = Exposure(subframes=9, shutter=0.8, speed_px=(3.0, 10.0))
BLUR_SIZE_PX, NUM_BLURRED = 128, 3
NOISE_RATIOS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # of the Wiener filter: its best one per clip is scored
BM3D_FRAME = 3  # it takes seconds for a frame: one of each clip is scored
CAMERAS = {"low light": (1.5e-2, 6e-3), "dim": (5e-3, 3e-3), "day": (1.5e-3, 1e-3)}  # shot and read noise
FILES = {"no codec": None, "crf 20": ("libx264", 20), "crf 26": ("libx264", 26)}
UNSHARP = tuple((radius, amount) for radius in (1.0, 2.0, 3.0) for amount in (0.5, 1.0, 2.0))  # likewise


def score_denoise(restorer: Restorer, folder: Path, sigma_255: float = 30.0, with_bm3d: bool = False) -> Rows:
    """Gaussian noise of a known sigma (8-bit steps), neither clipped nor rounded."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        clean = read_clip(folder, clip)
        noisy = add_noise(clean, sigma_255, torch.Generator().manual_seed(100 + i))[:, :3]
        restored = restorer.restore(noisy, sigma_255=sigma_255)
        rows[name] = {"noisy": psnr(noisy, clean)} | _both("restored", restored, clean)
        if with_bm3d:
            rows[name] |= _bm3d(noisy, clean, sigma_255)
    return rows


def score_footage(restorer: Restorer, folder: Path, camera: str, file: str, with_bm3d: bool = False) -> Rows:
    """A key of ``CAMERAS`` and one of ``FILES``: noise of a sensor, 8 bits, and a codec; sigma is estimated."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        clean = read_clip(folder, clip)
        seen = round_to_8bit(add_camera_noise(clean, *CAMERAS[camera], torch.Generator().manual_seed(100 + i)))
        if codec := FILES[file]:
            seen = compress(seen, *codec)
        sigma_255 = estimate_sigma(seen)
        restored = restorer.restore(seen, sigma_255=sigma_255)
        rows[name] = {"sigma": sigma_255, "seen": psnr(seen, clean)} | _both("restored", restored, clean)
        if with_bm3d:
            rows[name] |= _bm3d(seen, clean, sigma_255)
    return rows


def _bm3d(noisy: Tensor, clean: Tensor, sigma_255: float) -> dict[str, float]:
    frame = slice(BM3D_FRAME, BM3D_FRAME + 1)
    return {"bm3d": psnr(baselines.bm3d(noisy[BM3D_FRAME], sigma_255)[None], clean[frame])}


def score_sr(restorer: Restorer, folder: Path) -> Rows:
    """Antialiased bicubic reduction by 4, rounded to 8 bit."""
    rows: Rows = {}
    for name, clip in CLIPS.items():
        large = read_sr_clip(folder, clip)
        small = round_to_8bit(shrink(large, 4))
        rows[name] = {
            "bicubic": psnr(enlarge(small, 4), large),
            "lanczos": psnr(baselines.lanczos(small, 4), large),
        } | _both("restored", restorer.restore(small), large)
    return rows


def score_interpolate(restorer: Restorer, folder: Path) -> Rows:
    """Frames 1 to 4, each from the frames beside it; those further away stand in for the ones that the clip lacks."""
    rows: Rows = {}
    for name, clip in CLIPS.items():
        frames = read_clip(folder, clip)
        between = frames[1 : NUM_FRAMES - 1]

        def every_second(method: Callable[[Tensor], Tensor], frames: Tensor = frames) -> Tensor:
            even, odd = method(frames[0::2]), method(frames[1::2])
            return torch.stack([even[0], odd[0], even[1], odd[1]])

        rows[name] = {
            "average": psnr((frames[:-2] + frames[2:]) / 2, between),
            "minterpolate": psnr(every_second(baselines.minterpolate), between),
        } | _both("restored", every_second(lambda x: restorer.restore(x)[1::2]), between)
    return rows


def score_flicker(restorer: Restorer, folder: Path, sigma_255: float = 30.0, with_bm3d: bool = False) -> Rows:
    """Change along the true motion (8-bit steps) of noisy frames of each video that a generator moves."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        photos = MovingPhotos([baselines.to_images(read_frames(folder / clip.file, clip.start, 1))[0]])
        found = []
        for draw in range(FLICKER_PHOTOS):
            rng = np.random.default_rng([200, i, draw])
            clean, to_next, _ = photos.draw(rng, 2 * NUM_FRAMES, BLUR_SIZE_PX, layers=1)
            noisy = add_noise(clean, sigma_255, torch.Generator().manual_seed(100 + i))[:, :3]
            shown = {"clean": clean, "noisy": noisy, "restored": restorer.restore(noisy, sigma_255=sigma_255)}
            if with_bm3d:
                shown["bm3d"] = torch.stack([baselines.bm3d(frame, sigma_255) for frame in noisy])
            found.append({method: flicker_255(clip.clamp(0, 1), to_next) for method, clip in shown.items()})
        rows[name] = _means(found)
    return rows


def draw_blurred(photo: np.ndarray, seed: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Move a photo, (H, W, 3) uint8, before an open shutter, fast enough to blur it.

    Returns:
        The blurred and the sharp clip, (6, 3, 128, 128) each, and the path of the background's middle pixel during
        each exposure, (6, subframes, 2) in (x, y) pixels.
    """
    photos = MovingPhotos([photo])
    rng = np.random.default_rng([100, seed])
    while True:
        clip, _, _, motion = photos.draw_with_motion(rng, NUM_FRAMES, BLUR_SIZE_PX, exposure=BLUR)
        subframes = clip.unflatten(0, (NUM_FRAMES, BLUR.subframes))
        blurred, sharp = round_to_8bit(subframes.mean(dim=1)), subframes[:, BLUR.subframes // 2].contiguous()
        if psnr(blurred, sharp) < BLURRED_DB:
            break
    centre = np.array([(BLUR_SIZE_PX - 1) / 2] * 2 + [1.0])
    motion = motion.reshape(NUM_FRAMES, BLUR.subframes, 3, 3)
    middle = np.linalg.inv(motion[:, BLUR.subframes // 2])[:, None]
    path = (middle @ motion @ centre)[..., :2] - centre[:2]
    return blurred, sharp, path


def score_deblur(restorer: Restorer, folder: Path) -> Rows:
    """Motion blur: the mean of 9 moments over 0.8 of the frame time, of a frame of each video that is moved."""
    rows: Rows = {}
    for i, (name, clip) in enumerate(CLIPS.items()):
        photo = baselines.to_images(read_frames(folder / clip.file, clip.start, 1))[0]
        found = []
        for draw in range(NUM_BLURRED):
            blurred, sharp, path = draw_blurred(photo, NUM_BLURRED * i + draw)
            restored = restorer.restore(blurred)
            row = {"blurred": psnr(blurred, sharp), "unsharp": best_unsharp(blurred, sharp)}
            row |= {"wiener": best_wiener(blurred, sharp, path)} | _both("restored", restored, sharp)
            found.append(row)
        rows[name] = _means(found)
    return rows


def best_unsharp(blurred: Tensor, sharp: Tensor) -> float:
    """PSNR of the unsharp mask whose settings suit the clip best."""
    return max(psnr(baselines.unsharp_mask(blurred, radius, amount), sharp) for radius, amount in UNSHARP)


def best_wiener(blurred: Tensor, sharp: Tensor, path: np.ndarray) -> float:
    """PSNR of the Wiener filter that knows the path of the background, at the noise ratio that suits the clip best."""
    kernels = [baselines.motion_kernel(p) for p in path]
    return max(
        psnr(torch.stack([baselines.wiener(x, k, ratio) for x, k in zip(blurred, kernels, strict=True)]), sharp)
        for ratio in NOISE_RATIOS
    )


def _both(name: str, output: Tensor, target: Tensor) -> dict[str, float]:
    return {name: psnr(output, target), "ssim": ssim(output, target)}


def with_mean(rows: Rows) -> Rows:
    """Add the mean over the clips."""
    return rows | {"mean": _means(list(rows.values()))}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {method: float(np.mean([row[method] for row in rows])) for method in rows[0]}


SCORES: dict[str, Callable[[Restorer, Path], Rows]] = {
    "denoise": score_denoise,
    "sr": score_sr,
    "interpolate": score_interpolate,
    "deblur": score_deblur,
}


def main(
    model: Annotated[str, typer.Argument(help="model name or weights file")],
    clips: Annotated[Path, typer.Option(help="folder of the three videos, fetched if missing")] = Path("clips"),
    sigma: Annotated[list[float], typer.Option(help="noise for denoisers, 8-bit steps; may be repeated")] = [30.0],  # noqa: B006
    flicker: Annotated[bool, typer.Option(help="for denoisers: also the change along the true motion")] = False,
    footage: Annotated[bool, typer.Option(help="for denoisers: noise of cameras and codecs, sigma estimated")] = False,
    bm3d: Annotated[bool, typer.Option(help="for denoisers: BM3D as well (pip install bm3d; non-commercial)")] = False,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16")] = "fp32",
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
) -> None:
    """Print PSNR and SSIM on the evaluation clips, with those of the baselines."""
    torch.set_num_threads(threads)
    fetch_clips(clips)
    restorer = load_restorer(model, device="cpu", precision=precision)  # pyright: ignore[reportArgumentType]
    task = restorer.card.task
    if task not in SCORES:
        raise typer.BadParameter(f"{model} is for the task {task}, which is not scored; known: {', '.join(SCORES)}")
    for sigma_255 in sigma if task == "denoise" else [None]:
        if sigma_255 is None:
            show(task, SCORES[task](restorer, clips))
        else:
            show(f"denoise, sigma {sigma_255:g}", score_denoise(restorer, clips, sigma_255, bm3d))
            if flicker:
                show(f"flicker, sigma {sigma_255:g}", score_flicker(restorer, clips, sigma_255, bm3d))
    for camera, file in product(CAMERAS, FILES) if footage and task == "denoise" else ():
        show(f"{camera}, {file}", score_footage(restorer, clips, camera, file, bm3d))


def show(label: str, rows: Rows) -> None:
    """Print a line for each clip and for their mean."""
    for name, row in with_mean(rows).items():
        values = "  ".join(f"{method} {value:6.3f}" for method, value in row.items())
        typer.echo(f"{label}  {name:9s} {values}")


if __name__ == "__main__":
    typer.run(main)
