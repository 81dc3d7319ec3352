"""Videos: of a file, and in memory."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor


@dataclass
class VideoComponents:
    images: Tensor
    frame_rate: Fraction
    audio: Any = None


class VideoFromFile:
    def __init__(self, file: Any, *, start_time: float = 0, duration: float = 0) -> None:
        self._file, self._trim = file, (float(start_time), float(duration))

    def get_stream_source(self) -> Any:
        return self._file

    def get_components(self) -> VideoComponents:
        raise AssertionError("a file is to be streamed")

    def get_active_trim_window(self) -> tuple[float, float]:
        return self._trim


class VideoFromComponents:
    def __init__(self, components: VideoComponents) -> None:
        self._components = components

    def get_components(self) -> VideoComponents:
        return self._components

    def get_stream_source(self) -> Any:
        raise ValueError("Could not determine output format")  # as 0.3.64 does
