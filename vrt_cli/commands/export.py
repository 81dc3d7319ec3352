"""``vrt export``: writes a model as an ONNX file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

import vrt_core  # names are imported on first use: `vrt --help` does not load torch
from vrt_core.models import load_network
from vrt_media.clip import MediaError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    name: Annotated[str, typer.Argument(help="A model, as `vrt models` lists them, or '001'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")],
    height: Annotated[int, typer.Option(help="Of the frames that it will take, px.")],
    width: Annotated[int, typer.Option(help="Of the frames that it will take, px.")],
    frames: Annotated[
        int | None, typer.Option(help="Of the clips that it will take. [default: a window of the model]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an output that exists.")] = False,
) -> None:
    """Write a model for clips of one shape as ONNX, for other runtimes. Takes minutes."""
    if output.exists() and not overwrite:
        raise MediaError(f"{output} is there already; -y replaces it")
    if not output.parent.is_dir():
        raise MediaError(f"{output}: there is no folder {output.parent}; make it first")
    card = vrt_core.find_model(name)
    if card.links:
        raise vrt_core.InputError(f"{card.name} is a chain; export one by one: {', '.join(card.links)}")
    network = load_network(card)
    if frames is None:
        frames = network.num_input_frames or card.window_frames
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else it warns that torchvision is missing
    part = output.with_name(output.name + ".part")
    try:
        vrt_core.export_onnx(network, part, frames=frames, height=height, width=width)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    channels = 3 + network.config.nonblind_denoising
    noise = ", the last channel sigma / 255" if channels > 3 else ""
    typer.echo(f"{output}: clip (1, {frames}, {channels}, {height}, {width}), RGB in 0-1{noise}", err=True)
