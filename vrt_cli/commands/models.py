"""``vrt models``, ``vrt download``, and the description of a weights file for ``vrt info``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

import vrt_core  # names are imported on first use: `vrt --help` does not load torch
from vrt_core.models import COMPONENTS, find_weights, inspect_weights, models_dir

from ..progress import make_console

if TYPE_CHECKING:
    from vrt_core import ModelCard

_PLAIN_WIDTH = 200
"""Columns of a table that goes into a pipe or a file, where no terminal sets them."""


def register(app: typer.Typer) -> None:
    """Add the commands ``models`` and ``download``."""
    app.command("models")(models)
    app.command("download")(download_models)


def models() -> None:
    """List the models: what each does, its licence, and whether its weights are here."""
    table_console().print(_models_table())


def table_console() -> Console:
    """Return a console on standard output, wide enough for a table if that is a pipe or a file."""
    out = Console()
    return out if out.is_terminal and out.width > 0 else Console(width=_PLAIN_WIDTH)


def download_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As `vrt models` lists them, or '001'.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL_OR_FOLDER", help="A mirror, or a folder on this machine.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where to keep the weights instead of the models folder.")
    ] = None,
) -> None:
    """Fetch the weights of models. An interrupted download goes on when the same command is run again."""
    cards = [card for name in names for card in _single_models(vrt_core.find_model(name, components=True))]
    for card in dict.fromkeys(cards):
        _download_one(card, source, folder)


def describe_weights(path: str | Path) -> RenderableType:
    """Return a table of a weights file: models that it fits, parameters, precision, size, sha256.

    Raises:
        WeightsError: If it is not a weights file, or a damaged one.
    """
    info = inspect_weights(path)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("file", escape(str(info.path)))
    fits = " or ".join(info.names) or "no model known"
    table.add_row("fits", fits + (" (alike in shape: the name of the file decides)" if len(info.names) > 1 else ""))
    if info.card is not None:
        table.add_row("loads as", escape(f"{info.card.name} ({info.card.task}, x{info.card.scale})"))
        table.add_row("licence", escape(info.card.licence))
        if info.card.source:
            table.add_row("source", escape(info.card.source))
    table.add_row("parameters", f"{info.parameters:,}")
    table.add_row("precision", ", ".join(f"{name} ({count:,})" for name, count in info.dtypes.items()))
    table.add_row("format", {"torch": "PyTorch checkpoint"}.get(info.kind, info.kind))
    table.add_row("size", f"{_megabytes(info.bytes)} ({info.bytes:,} bytes)")
    table.add_row("sha256", info.sha256)
    return table


def _single_models(card: ModelCard) -> list[ModelCard]:
    """Return the card, or the cards of the models of a chain."""
    return [vrt_core.MODELS[name] for name in card.links] or [card]


def _models_table() -> Table:
    table = Table(title=escape(f"Models folder: {models_dir()}"), title_justify="left", title_style="")
    table.add_column("name", no_wrap=True)
    table.add_column("task", no_wrap=True)
    table.add_column("scale", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    for section in (vrt_core.MODELS, COMPONENTS):
        for card in section.values():
            table.add_row(card.name, card.task, f"x{card.scale}", card.licence, _size(card), _status(card))
        table.add_section()
    return table


def _size(card: ModelCard) -> str:
    """Return the size of the files of a model; of missing files, the size of the parameters in float32."""
    single = _single_models(card)
    paths = [_weights_path(one) for one in single]
    if all(paths):
        return _megabytes(sum(path.stat().st_size for path in paths if path))
    counts = [one.parameters for one in single]
    return "?" if None in counts else f"~{_megabytes(4 * sum(n for n in counts if n))}"


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.{0 if num_bytes >= 10e6 else 1}f} MB"


def _status(card: ModelCard) -> str:
    single = _single_models(card)
    shipped = all(one.shipped for one in single)
    if None in [_weights_path(one) for one in single]:
        return "missing: reinstall the project" if shipped else f"not downloaded: vrt download {_short(card)}"
    return "shipped" if shipped else "downloaded"


def _short(card: ModelCard) -> str:
    """Return the shortest name of a card for the command line: its number, if it has one."""
    number = card.name.partition("_")[0]
    return number if number.isdecimal() else card.name


def _weights_path(card: ModelCard) -> Path | None:
    try:
        return find_weights(card)
    except vrt_core.WeightsError:
        return None


def _download_one(card: ModelCard, source: str | None, folder: Path | None) -> None:
    """Download a model with a progress bar; print the licence on stderr and the path on stdout."""
    err = make_console(soft_wrap=True, highlight=False)
    err.print(f"[bold]{card.name}[/bold]: {card.description}")
    err.print(
        f"Licence of the weights: [bold]{card.licence}[/bold]. {card.source}", style="dim" if card.shipped else ""
    )
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task(card.file, total=card.bytes)
            path = vrt_core.download(
                card,
                folder=folder,
                source=source,
                on_bytes=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except KeyboardInterrupt:
        err.print("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None
    typer.echo(path)
    if folder is not None and folder.expanduser().resolve() != models_dir().resolve():
        err.print(f"Found by name only if VRT_MODELS_DIR is {folder}; else give the path of the file.", markup=False)
