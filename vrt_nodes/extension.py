"""The extension that ComfyUI loads: the list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .compare_node import Compare, CompareVideo
from .example_clips import copy_example_clips
from .image_nodes import Interpolate, Restore, SpaceTimeSR
from .load_node import LoadModel
from .model_files import add_model_folder
from .video_node import RestoreVideo

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
        copy_example_clips()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes."""
        return list(NODES)
