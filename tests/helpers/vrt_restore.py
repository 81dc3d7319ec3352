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
        from vrt_cli.main import app

        def load_restorer(name: str, options: RestoreOptions, **overrides: Any) -> Restorer:
            self.options = options
            return restorer or identity_restorer()

        self._monkeypatch.setattr(vrt_core, "load_restorer", load_restorer)
        return CliRunner().invoke(app, ["restore", *map(str, arguments), "--model", "same"])
