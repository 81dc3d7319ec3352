"""Demo: degrade a real clip in several ways, restore it with the shipped models, and compare.

    make demo                                   # or, in an environment with the package installed:
    python demo/demo.py --task denoise --sigma 50 --device cuda

Scores are PSNR of 8-bit RGB over all pixels, the mean of the frames that the models output.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vrt_core import load_restorer
from vrt_media.encoding import Encoding
from vrt_media.output_plan import OutputShape, plan_output
from vrt_media.reader import Trim, VideoReader
from vrt_media.writer import VideoWriter
from vrt_train.data.camera_noise import add_camera_noise, compress
from vrt_train.data.degradations import enlarge, round_to_8bit, shrink
from vrt_train.data.images import to_images
from vrt_train.data.photos import Exposure, MovingPhotos
from vrt_train.evaluation.metrics import psnr, to_8bit
from vrt_train.evaluation.scores import CAMERAS, draw_blurred

HERE = Path(__file__).parent
CLIP = HERE / "bird.mp4"
CREDIT = "Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0"
SEED, PAN_SEED, BLUR_SEED = 0, 3, 0
BIRD = slice(4, 112), slice(84, 228)  # rows and columns
ENLARGEMENT = 4  # of the crops in the images


@dataclass(frozen=True, kw_only=True)
class Example:
    """A degraded clip, its ground truth, and the crop that is shown."""

    inputs: Tensor
    """Input of the model, (T, 3, h, w)."""
    baseline: Tensor
    """Result without a model, (T', 3, H, W)."""
    truth: Tensor
    """(T', 3, H, W)."""
    baseline_name: str
    crop: tuple[slice, slice]
    """Rows and columns of the crop."""
    compared: slice = slice(None)
    """Output frames of the model that correspond to ``truth``."""
    frame: int
    """Frame that is shown."""


def denoise(clip: Tensor, options: argparse.Namespace) -> Example:
    """Add Gaussian noise, not clipped."""
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(SEED))
    noisy = clip + noise * (options.sigma / 255)
    frame = min(8, len(clip) - 1)
    return Example(inputs=noisy, baseline=noisy, truth=clip, baseline_name="noisy", crop=BIRD, frame=frame)


def footage(clip: Tensor, options: argparse.Namespace) -> Example:
    """Add the noise of a camera in low light and compress; the noise level is estimated."""
    clip = clip[:8]
    generator = torch.Generator().manual_seed(SEED)
    noisy = compress(round_to_8bit(add_camera_noise(clip, *CAMERAS["low light"], generator)), "libx264", 20)
    return Example(inputs=noisy, baseline=noisy, truth=clip, baseline_name="low light", crop=BIRD, frame=4)


def sr(clip: Tensor, options: argparse.Namespace) -> Example:
    """Downscale to a quarter of the height and width by bicubic filtering."""
    clip = clip[:8]
    small = round_to_8bit(shrink(clip, 4))
    return Example(inputs=small, baseline=enlarge(small, 4), truth=clip, baseline_name="bicubic", crop=BIRD, frame=4)


def interpolate(clip: Tensor, options: argparse.Namespace) -> Example:
    """Take every second frame of a pan over a frame of the clip; the other frames are interpolated."""
    exposure = Exposure(speed_px=(2.0, 3.0))
    photos = MovingPhotos([to_images(clip[:1])[0]])
    frames = round_to_8bit(photos.draw(np.random.default_rng(PAN_SEED), 9, 144, layers=1, exposure=exposure)[0])
    inputs = frames[::2]
    return Example(
        inputs=inputs,
        baseline=(inputs[:-1] + inputs[1:]) / 2,
        truth=frames[1::2],
        baseline_name="mean of both",
        crop=(slice(18, 126), slice(0, 144)),
        compared=slice(1, -1, 2),
        frame=1,
    )


def deblur(clip: Tensor, options: argparse.Namespace) -> Example:
    """Blur a fast pan over a frame of the clip by a long exposure."""
    blurred, sharp, _ = draw_blurred(to_images(clip[:1])[0], BLUR_SEED)
    crop = slice(10, 118), slice(0, 128)
    return Example(inputs=blurred, baseline=blurred, truth=sharp, baseline_name="blurred", crop=crop, frame=3)


EXAMPLES: dict[str, Callable[[Tensor, argparse.Namespace], Example]] = {
    "denoise": denoise,
    "footage": footage,
    "sr": sr,
    "deblur": deblur,
    "interpolate": interpolate,
}


def main() -> None:
    """Run the demo."""
    options = parse()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    clip = read_clip(options.frames)
    print(f"{CLIP.name}: {CREDIT}")
    print(f"{len(clip)} frames of {clip.shape[3]}x{clip.shape[2]}")
    for task in [options.task] if options.task else EXAMPLES:
        example = EXAMPLES[task](clip, options)
        model = options.model or f"{task}-small"
        start = time.monotonic()
        restored = restore(example.inputs, task, model, options)
        seconds = time.monotonic() - start
        output = restored[example.compared]
        baseline_score = f"{example.baseline_name} {psnr(example.baseline, example.truth):.2f} dB"
        score = f"{model} {psnr(output, example.truth):.2f} dB"
        print(f"{task:12s} {baseline_score}, {score} ({len(example.inputs)} frames in, {seconds:.1f} s)")
        clips = {"truth": example.truth, example.baseline_name: example.baseline, model: output}
        save_comparison(options.out / f"{task}.png", example, clips)
        if task == "denoise":
            save_video(options.out / "noisy.mp4", example.inputs)
            save_video(options.out / "restored.mp4", restored)
    print(f"written to {options.out}: a picture for each task; for noise the videos noisy.mp4 and restored.mp4")


def parse() -> argparse.Namespace:
    """Parse the command line; `make demo` uses the defaults."""
    parser = argparse.ArgumentParser(description="Degrade a clip, restore it, and print the scores.")
    parser.add_argument("--task", choices=EXAMPLES, help="only this one")
    parser.add_argument("--model", help="model for that task, instead of the shipped one")
    parser.add_argument("--sigma", type=float, default=30, help="strength of the noise, 0 to 50 in 8-bit units")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=12, help="how many of the clip's 24 frames")
    parser.add_argument("--out", type=Path, default=HERE.parent / "demo_out")
    options = parser.parse_args()
    if options.model and not options.task:
        parser.error("--model needs --task")
    if not 3 <= options.frames <= 24:
        parser.error(f"--frames ({options.frames}) must be 3 to 24")
    return options


def restore(inputs: Tensor, task: str, model: str, options: argparse.Namespace) -> Tensor:
    """Run a model over a clip, with a progress bar."""
    restorer = load_restorer(model, device=options.device)
    sigma_255 = {"denoise": options.sigma, "footage": "auto"}.get(task)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(model, total=None)
        on_step = lambda num_done, total: progress.update(bar, completed=num_done, total=total)  # noqa: E731
        return restorer.restore(inputs, sigma_255=sigma_255, on_step=on_step).cpu()


def read_clip(limit: int | None = None) -> Tensor:
    """Read the clip, (T, 3, H, W) in [0, 1]."""
    with closing(VideoReader(CLIP, Trim(max_frames=limit))) as reader:
        return torch.stack([frame.rgb for frame in reader.frames(lambda packet: None)]).clamp(0, 1)


def save_video(path: Path, frames: Iterable[Tensor]) -> None:
    """Encode frames (3, H, W) with the frame rate, colour and sound of the clip."""
    with closing(VideoReader(CLIP)) as reader:
        info = reader.info
        shape = OutputShape(height=info.height, width=info.width, rate=info.rate, time_base=info.time_base)
        streams = reader.copied_streams
        plan = plan_output(path, info, shape, Encoding(crf=12), streams=streams)
        with VideoWriter(plan, overwrite=True) as writer:
            for original, frame in zip(reader.frames(writer.copy), frames, strict=False):
                writer.write(frame, original.pts or 0)


def save_comparison(path: Path, example: Example, clips: dict[str, Tensor]) -> None:
    """Save one enlarged crop of each clip side by side, with its name and its PSNR."""
    frame = min(example.frame, len(example.truth) - 1)
    font, bar_px, gap_px = ImageFont.load_default(24), 40, 8
    crops = []
    for name, clip in clips.items():
        pixels = to_8bit(clip[frame][:, example.crop[0], example.crop[1]]).to(torch.uint8).movedim(0, 2).numpy()
        crop = Image.fromarray(pixels)
        crop = crop.resize((crop.width * ENLARGEMENT, crop.height * ENLARGEMENT), Image.Resampling.NEAREST)
        score = "" if clip is example.truth else f"  {psnr(clip[frame][None], example.truth[frame][None]):.2f} dB"
        crops.append((name + score, crop))
    width, height = crops[0][1].size
    image = Image.new("RGB", (len(crops) * (width + gap_px) - gap_px, height + bar_px), "white")
    draw = ImageDraw.Draw(image)
    for column, (label, crop) in enumerate(crops):
        left = column * (width + gap_px)
        image.paste(crop, (left, bar_px))
        draw.text((left + 6, 4), label, "black", font)
    image.save(path)


if __name__ == "__main__":
    main()
