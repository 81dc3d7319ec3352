"""Fixtures: a models folder of the test's own, and a server with the tiny release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.weights import FileServer, release, serving


@pytest.fixture
def own_models_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use a temporary models folder, and no proxy for local servers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path / "models"))


@pytest.fixture
def server(own_models_dir: None) -> Iterator[FileServer]:
    """An HTTP server with the tiny release."""
    with serving(release()) as running:
        yield running
