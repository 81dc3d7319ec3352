"""Measures flicker at window borders, with and without cross-fade, and draws it for the documentation.

    python benchmarks/vs_flicker.py [--picture vs_plugin/flicker.png]

The VapourSynth filter restores a still picture with fresh Gaussian noise in every frame by ``denoise-small``. Nothing
moves, so every change from one restored frame to the next is flicker: the root mean square of the change, in 8-bit
units, at window borders and elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
import vapoursynth as vs
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from vs_plugin import restore  # noqa: E402

HARD, FADED = (192, 57, 43), (31, 97, 141)


def still_picture(height: int, width: int) -> np.ndarray:
    """Return the centre crop of the first frame of the demo clip, (3, H, W) in [0, 1]."""
    with av.open(str(ROOT / "demo/bird.mp4")) as file:
        rgb = next(file.decode(video=0)).to_ndarray(format="rgb24")
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    return rgb[top : top + height, left : left + width].transpose(2, 0, 1).astype(np.float32) / 255


def add_noise(picture: np.ndarray, num_frames: int, sigma: float) -> vs.VideoNode:
    """Return a clip of the picture, each frame with other noise."""
    std, (_, H, W) = cast(Any, vs.core).std, picture.shape

    def render(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        noise = np.random.default_rng(n).normal(0, sigma / 255, picture.shape)
        frame = f.copy()
        for c in range(3):
            np.copyto(np.asarray(frame[c]), picture[c] + noise[c])
        return frame

    blank = std.BlankClip(None, W, H, vs.RGBS, num_frames, keep=True)
    return std.ModifyFrame(blank, blank, render)


def changes(clip: vs.VideoNode) -> np.ndarray:
    """Return the root mean square change from each frame to the next, in 8-bit units."""
    previous, rms = None, []
    for n in range(clip.num_frames):
        with clip.get_frame(n) as frame:
            current = np.stack([np.asarray(frame[c]) for c in range(3)]).clip(0, 1)
        if previous is not None:
            rms.append(255 * np.sqrt(np.square(current - previous).mean()))
        previous = current
    return np.array(rms)


def draw(curves: dict[str, np.ndarray], path: Path) -> None:
    """Draw the curves over one axis as a small PNG."""
    W, H, left, bottom, top = 900, 300, 60, 45, 34
    max_value = 1.15 * max(curve.max() for curve in curves.values())
    image = Image.new("RGB", (W, H), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    length = len(next(iter(curves.values())))

    def at(n: float, value: float) -> tuple[float, float]:
        return left + (W - left - 15) * n / (length - 1), H - bottom - (H - bottom - top) * value / max_value

    for tick in range(0, int(max_value) + 1, max(round(max_value / 4), 1)):
        pen.line([at(0, tick), at(length - 1, tick)], fill=(225, 225, 225))
        pen.text((10, at(0, tick)[1] - 8), str(tick), fill="black", font=font)
    for frame in range(0, length + 1, 10):
        if frame > 0:
            pen.text((at(frame - 1, 0)[0] - 8, H - bottom + 5), str(frame), fill="black", font=font)
    pen.text((W // 2 - 110, H - 22), "frame (change from the one before)", fill="black", font=font)
    for i, ((name, curve), colour) in enumerate(zip(curves.items(), (HARD, FADED), strict=True)):
        pen.line([at(n, value) for n, value in enumerate(curve)], fill=colour, width=2)
        pen.text((left + 10 + 330 * i, 8), name, fill=colour, font=font)
    image.quantize(64).save(path, optimize=True)


def main() -> None:
    """Measure, print a table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    parser.add_argument("--frames", type=int, default=60, help="length of the clip")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 128), metavar=("H", "W"), help="frame")
    parser.add_argument("--sigma", type=float, default=30, help="noise, 8-bit units")
    parser.add_argument("--window", type=int, default=12, help="frames in a window")
    parser.add_argument("--overlap", type=int, nargs="+", default=(0, 2, 4), help="overlaps to compare, frames")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clip = add_noise(still_picture(*args.size), args.frames, args.sigma)
    curves: dict[int, np.ndarray] = {}
    print("| overlap | change at borders | change elsewhere | ratio | largest |")
    print("|---|---|---|---|---|")
    for overlap in args.overlap:
        restored = restore(
            clip, sigma=args.sigma, window=args.window, overlap=overlap, cuts="off", tile=0, device="cpu"
        )
        curve = curves[overlap] = changes(restored)
        stride = args.window - overlap
        # curve[i] is between frames i and i + 1; a border spans the overlap + 1 changes into k * stride .. + overlap
        borders = {k * stride + i - 1 for k in range(1, args.frames // stride + 1) for i in range(overlap + 1)}
        at = np.array([i in borders for i in range(len(curve))])
        ratio = curve[at].mean() / curve[~at].mean()
        print(f"| {overlap} | {curve[at].mean():.3f} | {curve[~at].mean():.3f} | {ratio:.2f} | {curve.max():.3f} |")
    if args.picture:
        hard, faded = args.overlap[0], args.overlap[1]
        draw(
            {f"overlap {hard}: hard borders": curves[hard], f"overlap {faded}: cross-faded": curves[faded]},
            args.picture,
        )


if __name__ == "__main__":
    main()
