"""VRT as nodes of ComfyUI; importable without ComfyUI, which is first asked for in ``comfy_entrypoint``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extension import VRTExtension

WEB_DIRECTORY = str(Path(__file__).parent / "web")  # absolute: right for a clone, a symlink and a wheel


async def comfy_entrypoint() -> VRTExtension:
    """Return the nodes, when ComfyUI asks for them."""
    try:
        from .extension import VRTExtension
    except Exception:
        logging.getLogger(__name__).exception("the VRT nodes could not be loaded")  # ComfyUI shows no traceback
        raise
    return VRTExtension()
