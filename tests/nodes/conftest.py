"""Fixtures of the nodes: the stand-in for ComfyUI, and one real ComfyUI for the tests that need it, or a skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.comfy_server import REPO, Server, complaints_in, find_comfyui, serving
from tests.nodes.fake import comfy, tiny_files  # noqa: F401 (fixtures)
from tests.nodes.media import make_inputs
from tests.one_thread import one_thread  # noqa: F401 (fixture)


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
