"""Command that scores a model and its baselines on real videos: ``python -m vrt_train.evaluate MODEL --clips DIR``.

The clips are downloaded to the folder if they are missing (see ``evaluation.clips``). PSNR is in dB of 8-bit RGB over
all pixels, the mean of the frames; every output is clipped and rounded first.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from vrt_core import load_restorer

from .evaluation.clips import fetch_clips
from .evaluation.dfttest import reason_to_skip
from .evaluation.scores import FOOTAGE, SCORES, Rows, score_denoise, score_flicker, score_footage, with_mean


def main(
    model: Annotated[str, typer.Argument(help="model name or weights file")],
    clips: Annotated[Path, typer.Option(help="folder of the three videos, fetched if missing")] = Path("clips"),
    sigma: Annotated[list[float], typer.Option(help="noise for denoisers, 8-bit steps; may be repeated")] = [30.0],  # noqa: B006
    flicker: Annotated[bool, typer.Option(help="for denoisers: also the change along the true motion")] = False,
    footage: Annotated[
        bool, typer.Option(help="for denoisers: noise of cameras, grain, codecs; sigma estimated")
    ] = False,
    bm3d: Annotated[bool, typer.Option(help="for denoisers: BM3D as well (pip install bm3d; non-commercial)")] = False,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16")] = "fp32",
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
) -> None:
    """Print PSNR and SSIM on the evaluation clips, with those of the baselines."""
    torch.set_num_threads(threads)
    fetch_clips(clips)
    restorer = load_restorer(model, device="cpu", precision=precision)  # pyright: ignore[reportArgumentType]
    task = restorer.card.task
    if task == "denoise":
        if reason := reason_to_skip():
            typer.echo(reason)
        for sigma_255 in sigma:
            print_rows(f"denoise, sigma {sigma_255:g}", score_denoise(restorer, clips, sigma_255, bm3d))
            if flicker:
                print_rows(f"flicker, sigma {sigma_255:g}", score_flicker(restorer, clips, sigma_255, bm3d))
        for degradation in FOOTAGE if footage else ():
            print_rows(degradation, score_footage(restorer, clips, degradation, bm3d))
    elif task in SCORES:
        print_rows(task, SCORES[task](restorer, clips))
    else:
        known = ", ".join(("denoise", *SCORES))
        raise typer.BadParameter(f"{model} is for the task {task}, which is not scored; known: {known}")


def print_rows(label: str, rows: Rows) -> None:
    """Print one line for each clip and one for their mean."""
    for name, row in with_mean(rows).items():
        values = "  ".join(f"{method} {value:6.3f}" for method, value in row.items())
        typer.echo(f"{label}  {name:9s} {values}")


if __name__ == "__main__":
    typer.run(main)
