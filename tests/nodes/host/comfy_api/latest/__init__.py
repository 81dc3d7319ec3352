"""The node API of 0.3.64, as far as the nodes use it; `video` adds what later versions have."""

from abc import ABC, abstractmethod

from . import io
from .video import VideoComponents, VideoFromComponents, VideoFromFile


class ComfyExtension(ABC):
    @abstractmethod
    async def get_node_list(self) -> list[type[io.ComfyNode]]: ...


class InputImpl:
    VideoFromFile = VideoFromFile
    VideoFromComponents = VideoFromComponents


class Types:
    VideoComponents = VideoComponents


__all__ = ["ComfyExtension", "InputImpl", "Types", "io"]
