"""`vrt restore` in this process, with a restorer in place of a model."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import vrt_core
from tests.helpers.identity import identity_restorer
from vrt_core import RestoreOptions, Restorer


class VrtRestore:
    """Runs `vrt restore`; records the options with which it loads the model."""

    options: RestoreOptions

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path, restorer: Restorer | None = None) -> Result:
        """Run the command with these arguments; by default, the restorer returns its input."""

        def load_restorer(name: str, options: RestoreOptions, **overrides: Any) -> Restorer:
            self.options = options
            return restorer or identity_restorer()

        self._monkeypatch.setattr(vrt_core, "load_restorer", load_restorer)
        return self.run("restore", *arguments, "--model", "same")

    def run(self, *arguments: str | Path) -> Result:
        """Run any command."""
        from vrt_cli.main import app

        return CliRunner().invoke(app, [str(argument) for argument in arguments])
