"""The other rooms of the project, wherever they are: beside this package in a clone, or on their own in a wheel.

The only file of the nodes that names them; the others say ``from ._bridge import core``.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import vrt_core as core
    from vrt_core import models
    from vrt_media import colour, planes, timeline
else:

    def _find(name: str) -> ModuleType:
        parent = __package__.rpartition(".")[0]
        return import_module(f"{parent}.{name}" if parent else name)

    core, models = _find("vrt_core"), _find("vrt_core.models")
    colour, planes, timeline = (_find(f"vrt_media.{name}") for name in ("colour", "planes", "timeline"))

__all__ = ["colour", "core", "models", "planes", "timeline"]
