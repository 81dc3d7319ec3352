"""The program `vrt`: its commands and its error messages."""

import logging
import re
from typing import Annotated, Any

import typer
from rich.logging import RichHandler
from typer.core import TyperGroup

from .commands import export, info, models, restore, scenes, train
from .progress import make_console

EXIT_FAILED, EXIT_USAGE = 1, 2

FLAGS = {
    "sigma_255": "--sigma",
    "window_frames": "--window",
    "overlap_frames": "--overlap",
    "tile_px": "--tile",
    "tile_overlap_px": "--tile-overlap",
}
"""Flags of the engine's options that have other names here."""


class Commands(TyperGroup):
    """Runs a command; reports an expected error in one line, with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug") or not is_expected(error):
                raise
            typer.echo(f"vrt: {one_line(error)}", err=True)
            raise typer.Exit(EXIT_FAILED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Restore video with VRT: denoise, deblur, enlarge, interpolate.",
)


def is_expected(error: Exception) -> bool:
    """Return whether an error is due to the user's input or machine, not to a fault in the program."""
    from av.error import FFmpegError

    from vrt_core import VRTError
    from vrt_media.clip import MediaError

    return isinstance(error, VRTError | MediaError | FFmpegError | OSError)


def one_line(error: Exception) -> str:
    """Return an error's message in one line, or its type if it has none; names of options become flags."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        message = message.replace("pipe:1:", "standard output:")
    message = re.sub(r"\b\w+\b", lambda word: FLAGS.get(word[0], word[0]), message)
    return " ".join(message.split()) or type(error).__name__


def _print_version(is_set: bool) -> None:
    if is_set:
        version()
        raise typer.Exit


@app.callback()
def settings(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Restore video with VRT: denoise, deblur, enlarge, interpolate."""
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=make_console(soft_wrap=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    for name in ("vrt_core", "vrt_media", "vrt_cli"):
        logging.getLogger(name).setLevel(level)


@app.command()
def version() -> None:
    """Print the version."""
    from vrt_core import __version__

    typer.echo(__version__)


restore.register(app)
scenes.register(app)
info.register(app)
models.register(app)
train.register(app)
export.register(app)

if __name__ == "__main__":
    app()
