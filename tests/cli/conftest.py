"""The command line with a restorer that changes nothing."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import vrt_core
from tests.cli.helpers import IdentityRestorer


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what the command line sets for its process, for the tests after it."""
    loggers = [logging.getLogger(name) for name in ("", "vrt_core", "vrt_cli")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def vrt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `vrt restore` with an `IdentityRestorer`; its arguments are those of the command, `restorer` replaces it."""
    from vrt_cli.main import app

    def run(*arguments: str | Path, restorer: Any = None) -> Result:
        monkeypatch.setattr(vrt_core, "load_restorer", lambda name, **_: restorer or IdentityRestorer())
        return CliRunner().invoke(app, ["restore", *map(str, arguments), "--model", "same"])

    return run
