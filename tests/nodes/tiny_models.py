"""Small networks full of random numbers, for the models that workflows name and that do not ship yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vrt_core import MODELS, ModelCard, build_network, save_weights

COMMON: dict[str, Any] = {
    "img_size": [2, 16, 16],
    "window_size": [2, 4, 4],
    "embed_dims": [8] * 8,
    "depths": [1] * 8,
    "num_heads": [1] * 8,
    "indep_reconsts": [],
    "deformable_groups": 1,
    "flow_channels": [4, 4, 4, 4],
}
CARDS = {
    card.name: card
    for card in (
        ModelCard(
            name="sr-small", task="sr", scale=4, config={**COMMON, "upscale": 4, "pa_frames": 2}, window_frames=4
        ),
        ModelCard(
            name="interpolate-small",
            task="interpolate",
            config={**COMMON, "upscale": 1, "pa_frames": 0, "img_size": [4, 16, 16]},
            window_frames=4,
        ),
    )
}


def listed_name(name: str) -> str:
    """Return what Load VRT Model lists for a model: a file, where a tiny one stands in for it."""
    return name if name in MODELS else f"{name}.safetensors"


def make_models(folder: Path) -> None:
    """Write the stand-ins."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, card in CARDS.items():
        if name not in MODELS:
            torch.manual_seed(0)
            save_weights(folder / f"{name}.safetensors", build_network(**card.config).state_dict(), card=card)
