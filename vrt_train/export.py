"""Command that exports a trained model to the manifest: ``python -m vrt_train.export RUN --name denoise-small``.

Writes the averaged (EMA) weights as float16 safetensors next to the manifest, and their configuration, size and sha256
to the model's entry.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from vrt_core import ModelCard
from vrt_core.models import inspect_weights, load_weights, save_weights


def export(checkpoint: Path, name: str, folder: Path) -> Path:
    """Write the averaged weights of a checkpoint and update the manifest.

    Args:
        checkpoint: `checkpoint.pt` of a run.
        name: Model of the manifest.
        folder: Folder of the manifest and the weights.

    Returns:
        The weights file.

    Raises:
        KeyError: If the manifest has no model of that name.
    """
    state = torch.load(checkpoint, weights_only=True)
    manifest = folder / "manifest.json"
    files = {card["name"]: card["file"] for card in json.loads(manifest.read_text())["models"] if card.get("file")}
    if name not in files:
        raise KeyError(f"{manifest} has no model {name!r}; write its card first (known: {', '.join(files)})")
    path = folder / files[name]
    save_weights(path, state["ema"], dtype=torch.float16)
    record_weights(name, manifest, config=state["config"]["network"])
    return path


def record_weights(name: str, manifest: Path, **facts: Any) -> ModelCard:
    """Write size, sha256 and number of parameters of a shipped model's weights into its entry of the manifest.

    Args:
        name: Of the model; an entry is added if there is none.
        manifest: The file to change. The weights are in the same folder.
        **facts: Fields of ModelCard to set as well, such as ``config``, ``file`` or ``description``.

    Returns:
        The new card.

    Raises:
        InputError: If a field is out of its range.
        WeightsError: If the weights are missing, or do not fit the entry's config.
    """
    content = json.loads(manifest.read_text(encoding="utf-8"))
    entry: dict[str, Any] | None = next((entry for entry in content["models"] if entry["name"] == name), None)
    if entry is None:
        entry = {"name": name}
        content["models"].append(entry)
    entry.update(facts)
    card = ModelCard(**entry)
    weights = manifest.parent / card.file
    load_weights(card, weights)  # fails if they do not fit
    info = inspect_weights(weights)
    entry.update(bytes=info.bytes, sha256=info.sha256, parameters=info.parameters)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # Puts each list of numbers on one line. A JSON string never contains a raw newline.
    text = re.sub(r"\[\n\s+([^\[\]{}]*?)\n\s+\]", lambda m: "[" + re.sub(r"\n\s+", " ", m[1]) + "]", text)
    temporary = manifest.with_name(f"{manifest.name}.tmp")
    temporary.write_text(f"{text}\n", encoding="utf-8")
    temporary.replace(manifest)
    return ModelCard(**entry)


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
