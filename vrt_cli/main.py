"""The program `vrt`: its commands and its error messages."""

import logging
from typing import Annotated, Any

import typer
from rich.logging import RichHandler
from typer.core import TyperGroup

from .commands import export, info, join, models, restore, scenes, train
from .errors import exit_code_of, is_expected, one_line
from .progress import make_console


class Commands(TyperGroup):
    """Runs a command; reports an expected error in one line, with its exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug") or not is_expected(error):
                raise
            typer.echo(f"vrt: {one_line(error)}", err=True)
            raise typer.Exit(exit_code_of(error)) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Restore video with VRT: denoise, deblur, enlarge, interpolate.",
)


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
join.register(app)
scenes.register(app)
info.register(app)
models.register(app)
train.register(app)
export.register(app)

if __name__ == "__main__":
    app()
