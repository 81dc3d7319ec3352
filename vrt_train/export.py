"""Ship a trained model: ``python -m vrt_train.export RUN --name denoise-small``.

Writes the averaged weights as float16 safetensors beside the manifest, and config, size and sha256 into its entry.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from vrt_core import record_weights, save_weights


def export(checkpoint: Path, name: str, folder: Path) -> Path:
    """Write the weights of ``checkpoint`` to ``folder`` and update the manifest's entry ``name``; return the file.

    Raises:
        KeyError: If the manifest has no model of that name: write its card first.
    """
    state = torch.load(checkpoint, weights_only=True)
    manifest = folder / "manifest.json"
    files = {card["name"]: card["file"] for card in json.loads(manifest.read_text())["models"] if card.get("file")}
    if name not in files:
        raise KeyError(f"{manifest} has no model {name!r}; write its card first (known: {', '.join(files)})")
    path = folder / files[name]
    save_weights(path, state["ema"], dtype=torch.float16)
    record_weights(name, manifest=manifest, config=state["config"]["network"])
    return path


def main(
    run: Annotated[Path, typer.Argument(help="folder of the run")],
    name: Annotated[str, typer.Option(help="model of the manifest")],
    weights: Annotated[Path, typer.Option(help="folder of the manifest")] = Path("weights"),
) -> None:
    """Export the averaged weights of a run."""
    path = export(run / "checkpoint.pt", name, weights)
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
