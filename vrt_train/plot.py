"""Command that plots the curves of a run: ``python -m vrt_train.plot runs/sr_small`` writes `curves.png` to the run."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageDraw, ImageFont

Curve = list[tuple[float, float]]
WIDTH, HEIGHT, MARGIN = 900, 300, 60
COLOURS = ("#1f6fb4", "#b4441f", "#3c8c3c", "#8c5ab4")


def read_curves(path: Path, names: Sequence[str]) -> dict[str, Curve]:
    """Return the columns of a log that have values, as (step, value) pairs."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    curves = {name: [(float(r["step"]), float(r[name])) for r in rows if r.get(name)] for name in names}
    return {name: curve for name, curve in curves.items() if curve}


def smooth(curve: Curve, share: float = 0.05) -> Curve:
    """Return the moving average over a window whose length is a share of the curve, 0-1."""
    reach = max(int(len(curve) * share / 2), 0)
    return [
        (step, sum(value for _, value in window) / len(window))
        for i, (step, _) in enumerate(curve)
        for window in [curve[max(i - reach, 0) : i + reach + 1]]
    ]


def draw(title: str, curves: dict[str, Curve]) -> Image.Image:
    """Draw curves over the steps, on a common scale."""
    panel = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(13)
    points = [point for curve in curves.values() for point in curve]
    last = max(step for step, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or 1.0

    def to_pixel(step: float, value: float) -> tuple[float, float]:
        x = MARGIN + step / last * (WIDTH - 2 * MARGIN)
        return x, HEIGHT - MARGIN + (low - value) / span * (HEIGHT - 2 * MARGIN)

    for i in range(5):
        value = low + span * i / 4
        y = to_pixel(0, value)[1]
        pen.line((MARGIN, y, WIDTH - MARGIN, y), fill="#dddddd")
        pen.text((4, y - 8), f"{value:.4g}", "black", font)
    pen.text((WIDTH - MARGIN - 60, HEIGHT - MARGIN + 8), f"step {last:.0f}", "black", font)
    pen.text((MARGIN, 8), title, "black", font)
    for i, (name, curve) in enumerate(curves.items()):
        pen.line([to_pixel(*point) for point in curve], fill=COLOURS[i % len(COLOURS)], width=2)
        pen.text((MARGIN + 190 * i, 28), name, COLOURS[i % len(COLOURS)], font)
    return panel


def plot(run: Path) -> Path:
    """Write the curves of loss, learning rate and validation PSNR of a run to one image, and return its path."""
    loss = {name: smooth(curve) for name, curve in read_curves(run / "train.csv", ["loss"]).items()}
    learning_rate = read_curves(run / "train.csv", ["learning_rate"])
    panels = [draw("training loss, smoothed", loss), draw("learning rate", learning_rate)]
    if (run / "validation.csv").exists():
        names = [f"{kind}{suffix}" for kind in ("film", "photos") for suffix in ("_psnr", "_baseline_psnr")]
        panels.append(draw("held-out PSNR, dB", read_curves(run / "validation.csv", names)))
    image = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), "white")
    for i, panel in enumerate(panels):
        image.paste(panel, (0, HEIGHT * i))
    path = run / "curves.png"
    image.save(path)
    return path


def main(run: Annotated[Path, typer.Argument(help="folder of the run")]) -> None:
    """Plot the curves of a run."""
    typer.echo(plot(run))


if __name__ == "__main__":
    typer.run(main)
