"""One ComfyUI for all tests that need a real one; they skip, and say why, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.comfy_server import REPO, Server, complaints_in, find_comfyui, serving
from tests.nodes.fake import comfy, tiny_files  # noqa: F401 (fixtures)
from tests.nodes.media import make_inputs


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Compute with one thread in all tests of this folder: they compare frames bit for bit."""


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """Its folder."""
    found = find_comfyui()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def server(comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running one, with this checkout, and inputs for the workflows."""
    base = tmp_path_factory.mktemp("comfy")
    make_inputs(base / "input")
    with serving(comfyui, base, pack=REPO) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test asks of the server, its log then tells of no fault that the user was not shown."""
    if "server" not in request.fixturenames:
        yield
        return
    running: Server = request.getfixturevalue("server")
    before = len(running.log)
    yield
    assert complaints_in(running.log[before:]) == []
