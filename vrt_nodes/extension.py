"""What ComfyUI gets: the list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .compare import Compare, CompareVideo
from .folders import add_model_folder
from .images import Interpolate, Restore, SpaceTimeSR
from .load import LoadModel
from .video import RestoreVideo

NODES: tuple[type[io.ComfyNode], ...] = (
    LoadModel,
    Restore,
    Interpolate,
    SpaceTimeSR,
    RestoreVideo,
    Compare,
    CompareVideo,
)


class VRTExtension(ComfyExtension):
    """The VRT nodes."""

    def __init__(self) -> None:
        add_model_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes."""
        return list(NODES)
