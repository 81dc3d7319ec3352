"""Fixtures of the jobs: `vrt restore` without a model."""

import pytest

from tests.cli.conftest import restored_logging  # noqa: F401
from tests.helpers.vrt_restore import VrtRestore


@pytest.fixture
def vrt(monkeypatch: pytest.MonkeyPatch) -> VrtRestore:
    """`vrt restore` with a restorer that returns its input."""
    return VrtRestore(monkeypatch)
