"""Spoil a real clip in several ways, restore it with the models that ship, and show how well that went.

    make demo                                   # or, in an environment that is set up:
    python demo/demo.py --task denoise --sigma 50 --device cuda

Scores are PSNR of 8-bit RGB over all pixels, averaged over the frames that the models made.
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
from torch import Tensor

from vrt_cli.progress import FrameProgress
from vrt_core import load_restorer
from vrt_media.encoding import Encoding
from vrt_media.reader import Trim, VideoReader
from vrt_media.writer import OutputShape, VideoWriter
from vrt_train.data.camera_noise import add_camera_noise, compress
from vrt_train.data.degradations import enlarge, round_to_8bit, shrink
from vrt_train.data.photos import Exposure, MovingPhotos
from vrt_train.evaluate import CAMERAS, draw_blurred
from vrt_train.evaluation.baselines import to_images
from vrt_train.evaluation.metrics import psnr, to_8bit

HERE = Path(__file__).parent
CLIP = HERE / "bird.mp4"
CREDIT = "Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0"
SEED, PAN_SEED, BLUR_SEED = 0, 3, 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """A spoilt clip and what is shown of it."""

    inputs: Tensor
    """What the model gets, (T, 3, h, w)."""
    plain: Tensor
    """What one has without a model, frames as those of ``truth``."""
    truth: Tensor
    """(T', 3, H, W)."""
    scored: slice
    """Frames of the model's output to compare with ``truth``."""
    label: str
    """Name of ``plain``."""
    part: tuple[slice, slice]
    """Rows and columns of the picture."""
    enlarged: int = 4
    frame: int = 0


def denoise(clip: Tensor, options: argparse.Namespace) -> Show:
    """Gaussian noise, not clipped."""
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(SEED))
    noisy = clip + noise * (options.sigma / 255)
    part = slice(4, 112), slice(84, 228)
    return Show(
        inputs=noisy, plain=noisy, truth=clip, scored=slice(None), label="noisy", part=part, frame=min(8, len(clip) - 1)
    )


def footage(clip: Tensor, options: argparse.Namespace) -> Show:
    """The noise of a camera in low light, and a codec; nobody says how strong."""
    noise = torch.Generator().manual_seed(SEED)
    inputs = compress(round_to_8bit(add_camera_noise(clip[:8], *CAMERAS["low light"], noise)), "libx264", 20)
    part = slice(4, 112), slice(84, 228)
    return Show(inputs=inputs, plain=inputs, truth=clip[:8], scored=slice(None), label="low light", part=part, frame=4)


def sr(clip: Tensor, options: argparse.Namespace) -> Show:
    """A quarter of the height and width, by bicubic filtering."""
    clip = clip[:8]
    small = round_to_8bit(shrink(clip, 4))
    part = slice(4, 112), slice(84, 228)
    plain = enlarge(small, 4)
    return Show(inputs=small, plain=plain, truth=clip, scored=slice(None), label="bicubic", part=part, frame=4)


def interpolate(clip: Tensor, options: argparse.Namespace) -> Show:
    """Every second moment of a pan over a frame of the clip; the others are to be made again."""
    exposure = Exposure(speed_px=(2.0, 3.0))
    photos = MovingPhotos([to_images(clip[:1])[0]])
    frames = round_to_8bit(photos.draw(np.random.default_rng(PAN_SEED), 9, 144, layers=1, exposure=exposure)[0])
    kept = frames[::2]
    plain, part = (kept[:-1] + kept[1:]) / 2, (slice(18, 126), slice(0, 144))
    return Show(
        inputs=kept, plain=plain, truth=frames[1::2], scored=slice(1, -1, 2), label="mean of both", part=part, frame=1
    )


def deblur(clip: Tensor, options: argparse.Namespace) -> Show:
    """A fast pan over a frame of the clip, before an open shutter."""
    blurred, sharp, _ = draw_blurred(to_images(clip[:1])[0], BLUR_SEED)
    part = slice(10, 118), slice(0, 128)
    return Show(inputs=blurred, plain=blurred, truth=sharp, scored=slice(None), label="blurred", part=part, frame=3)


SHOWS: dict[str, Callable[[Tensor, argparse.Namespace], Show]] = {
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
    for task in [options.task] if options.task else SHOWS:
        show = SHOWS[task](clip, options)
        model = options.model or f"{task}-small"
        began = time.monotonic()
        restored = restore(show.inputs, task, model, options)
        seconds = time.monotonic() - began
        outputs = restored[show.scored]
        scores = f"{show.label} {psnr(show.plain, show.truth):.2f} dB, {model} {psnr(outputs, show.truth):.2f} dB"
        print(f"{task:12s} {scores} ({len(show.inputs)} frames in, {seconds:.1f} s)")
        save_picture(options.out / f"{task}.png", show, {"truth": show.truth, show.label: show.plain, model: outputs})
        if task == "denoise":
            save_video(options.out / "noisy.mp4", show.inputs)
            save_video(options.out / "restored.mp4", restored)
    print(f"written to {options.out}: a picture for each task; for noise the videos noisy.mp4 and restored.mp4")


def parse() -> argparse.Namespace:
    """The options; those of `make demo` are the defaults."""
    parser = argparse.ArgumentParser(description="Spoil a clip, restore it, and tell how well it went.")
    parser.add_argument("--task", choices=SHOWS, help="only this one")
    parser.add_argument("--model", help="of that task, instead of the one that ships")
    parser.add_argument("--sigma", type=float, default=30, help="strength of the noise, 0 to 50 in 8-bit units")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=12, help="so many of the clip's 24")
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
    sigma = {"denoise": options.sigma, "footage": "auto"}.get(task)
    frames: list[Tensor] = []
    total = 2 * len(inputs) - 1 if task == "interpolate" else len(inputs)
    with FrameProgress(Console(stderr=True), label=model, total=total) as bar:
        for frame in restorer.stream(iter(inputs), sigma_255=sigma, on_step=bar.on_step):
            frames.append(frame.cpu())
            bar.on_frame(len(frames))
    return torch.stack(frames)


def read_clip(limit: int | None = None) -> Tensor:
    """Read the clip, (T, 3, H, W) in [0, 1]."""
    with closing(VideoReader(CLIP, Trim(max_frames=limit))) as reader:
        return torch.stack([frame.rgb for frame in reader.frames(lambda packet: None)]).clamp(0, 1)


def save_video(path: Path, frames: Iterable[Tensor]) -> None:
    """Encode frames with the rate, colour and sound of the clip."""
    with closing(VideoReader(CLIP)) as reader:
        info = reader.info
        shape = OutputShape(height=info.height, width=info.width, rate=info.rate, time_base=info.time_base)
        with VideoWriter(path, info, shape, Encoding(crf=12), streams=reader.copied_streams) as writer:
            for original, frame in zip(reader.frames(writer.copy), frames, strict=False):
                writer.write(frame, original.pts or 0)


def save_picture(path: Path, show: Show, clips: dict[str, Tensor]) -> None:
    """One part of one frame of each clip, enlarged, with its name and its PSNR against the first."""
    frame = min(show.frame, len(show.truth) - 1)
    font, bar_px, gap_px = ImageFont.load_default(24), 40, 8
    parts = []
    for name, clip in clips.items():
        crop = to_8bit(clip[frame][:, show.part[0], show.part[1]]).to(torch.uint8).movedim(0, 2).numpy()
        picture = Image.fromarray(crop)
        picture = picture.resize(
            (picture.width * show.enlarged, picture.height * show.enlarged), Image.Resampling.NEAREST
        )
        score = "" if clip is show.truth else f"  {psnr(clip[frame][None], show.truth[frame][None]):.2f} dB"
        parts.append((name + score, picture))
    width, height = parts[0][1].size
    sheet = Image.new("RGB", (len(parts) * (width + gap_px) - gap_px, height + bar_px), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (label, picture) in enumerate(parts):
        left = column * (width + gap_px)
        sheet.paste(picture, (left, bar_px))
        draw.text((left + 6, 4), label, "black", font)
    sheet.save(path)


if __name__ == "__main__":
    main()
