"""A release on a local server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.weights_helpers import FileServer, release, serving


@pytest.fixture
def own_models_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep models in a folder of the test's own, and reach local servers directly."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path / "models"))


@pytest.fixture
def server(own_models_dir: None) -> Iterator[FileServer]:
    """A server that offers the tiny release."""
    with serving(release()) as running:
        yield running
