"""Fixtures of the command line: the logging that it sets up, and `vrt restore` without a model."""

import logging
from collections.abc import Iterator

import pytest

from tests.helpers.vrt_restore import VrtRestore


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Undo the logging set-up of the command line, for later tests."""
    loggers = [logging.getLogger(name) for name in ("", "vrt_core", "vrt_media", "vrt_cli")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def vrt(monkeypatch: pytest.MonkeyPatch) -> VrtRestore:
    """`vrt restore` with a restorer that returns its input."""
    return VrtRestore(monkeypatch)
