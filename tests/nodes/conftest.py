"""Fixtures of the nodes: the stand-in for ComfyUI, and one real ComfyUI for the tests that need it, or a skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy.model_management as mm
import folder_paths
import pytest
import torch
from comfy.utils import ProgressBar
from server import PromptServer

from tests.nodes.comfy_server import REPO, Server, complaints_in, find_comfyui, serving
from tests.nodes.fake import CARDS, FakeComfyUI
from tests.nodes.media import make_inputs
from vrt_core import build_network
from vrt_core.models import save_weights


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models with random weights, one for each task."""
    folder = tmp_path_factory.mktemp("tiny")
    for task, card in CARDS.items():
        torch.manual_seed(1)
        save_weights(folder / f"{task}.safetensors", build_network(**card.config).state_dict(), card=card)
    return folder


@pytest.fixture
def comfy(tmp_path: Path, tiny_files: Path, monkeypatch: pytest.MonkeyPatch) -> FakeComfyUI:
    """A fresh ComfyUI."""
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


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Compute with one thread in all tests of this folder: they compare frames bit for bit."""


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """Folder of ComfyUI."""
    folder = find_comfyui()
    if isinstance(folder, str):
        pytest.skip(folder)
    return folder


@pytest.fixture(scope="session")
def server(comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running ComfyUI with this checkout, and inputs for the workflows."""
    base = tmp_path_factory.mktemp("comfy")
    make_inputs(base / "input")
    with serving(comfyui, base, pack=REPO) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test that the server's log has no fault that the user was not shown."""
    if "server" not in request.fixturenames:
        yield
        return
    running: Server = request.getfixturevalue("server")
    before = len(running.log)
    yield
    assert complaints_in(running.log[before:]) == []
