"""`vrt train`: runs vrt_train, with its options."""

import importlib

import typer

NEEDS = "vrt train needs the training extra: pip install 'vrt-restore[train]'"


def register(app: typer.Typer) -> None:
    """Add the command; vrt_train is imported when it runs."""

    @app.command(
        "train",
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        help="Train a model, or go on training it: `vrt train sr-small`; `vrt train --help` lists the options.",
    )
    def train(ctx: typer.Context, arguments: list[str] = typer.Argument(None, metavar="CONFIG [OPTIONS]")) -> None:
        try:
            module = importlib.import_module("vrt_train.train")
        except ModuleNotFoundError as error:
            typer.echo(f"vrt: {NEEDS} ({error})", err=True)
            raise typer.Exit(1) from None
        inner = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        inner.command()(module.command)
        try:
            typer.main.get_command(inner).main(arguments or ["--help"], prog_name=f"{ctx.command_path}")
        except ValueError as error:
            typer.echo(f"vrt: {error}", err=True)
            raise typer.Exit(1) from None
