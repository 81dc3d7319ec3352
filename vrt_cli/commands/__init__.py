"""The commands of `vrt`, one module each: each adds itself to the Typer application."""
