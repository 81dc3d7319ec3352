"""The project's other packages: beside this package in a clone, installed ones in a wheel.

The only file of the nodes that names them; the others import them from here.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import vrt_core as core
    from vrt_core import hardware, models
    from vrt_media import (
        audio,
        clip,
        colour,
        container,
        encoding,
        formats,
        output_plan,
        part_file,
        reader,
        timeline,
        writer,
    )
else:

    def _import(name: str) -> ModuleType:
        parent = __package__.rpartition(".")[0]
        return import_module(f"{parent}.{name}" if parent else name)

    core, hardware, models = (_import(name) for name in ("vrt_core", "vrt_core.hardware", "vrt_core.models"))
    _NAMES = (
        "audio",
        "clip",
        "colour",
        "container",
        "encoding",
        "formats",
        "output_plan",
        "part_file",
        "reader",
        "timeline",
        "writer",
    )
    audio, clip, colour, container, encoding, formats, output_plan, part_file, reader, timeline, writer = (
        _import(f"vrt_media.{name}") for name in _NAMES
    )

__all__ = [
    "audio",
    "clip",
    "colour",
    "container",
    "core",
    "encoding",
    "formats",
    "hardware",
    "models",
    "output_plan",
    "part_file",
    "reader",
    "timeline",
    "writer",
]
