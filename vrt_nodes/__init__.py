"""VRT as nodes of ComfyUI. Importable without ComfyUI, which ``comfy_entrypoint`` imports."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extension import VRTExtension

WEB_DIRECTORY = str(Path(__file__).parent / "web")  # absolute: right for a clone, a symlink and a wheel


async def comfy_entrypoint() -> VRTExtension:
    """Return the extension; ComfyUI calls this when it starts."""
    try:
        from .extension import VRTExtension
    except Exception:
        logging.getLogger(__name__).exception("the VRT nodes could not be loaded")  # ComfyUI shows no traceback
        raise
    return VRTExtension()
