"""Film decoding and cut-free windows: short runs of frames, stored as one raw uint8 array."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import torch

from vrt_core import CutDetector
from vrt_media.container import count_packets

MIN_CONTRAST = 10.0  # standard deviation of a frame, in 8-bit steps; flatter frames are title cards or fades


def read_film(path: Path, size_px: tuple[int, int], start: float = 0.0, stop: float = 1.0) -> Iterator[np.ndarray]:
    """Decode a part of a film, area-averaged to one size.

    Args:
        path: Any video file.
        size_px: (H, W) of the output frames.
        start: First frame, as a fraction of the film, 0-1.
        stop: End (exclusive), as a fraction of the film, 0-1.

    Yields:
        uint8 (H, W, 3), RGB.
    """
    height, width = size_px
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        num_frames = stream.frames or count_packets(path)
        for index, frame in enumerate(container.decode(stream)):
            if index >= stop * num_frames:
                return
            if index >= start * num_frames:
                resized = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
                yield resized.to_ndarray()


def cut_free_windows(frames: Iterable[np.ndarray], length: int, gap: int) -> Iterator[np.ndarray]:
    """Split frames into windows without cuts and without flat frames.

    Args:
        frames: uint8 (H, W, 3), RGB.
        length: Frames in a window, T.
        gap: Minimum number of frames between two windows of a scene.

    Yields:
        uint8 (T, H, W, 3).
    """
    starts_scene = CutDetector()
    window: list[np.ndarray] = []
    num_skipped = 0
    for frame in frames:
        if starts_scene(torch.from_numpy(frame).permute(2, 0, 1).float() / 255):  # (3, H, W)
            window, num_skipped = [], 0
        if num_skipped:
            num_skipped -= 1
        elif frame.std() < MIN_CONTRAST:
            window = []
        else:
            window.append(frame)
        if len(window) == length:
            yield np.stack(window)
            window, num_skipped = [], gap


def write_windows(path: Path, windows: Iterable[np.ndarray]) -> tuple[int, ...]:
    """Write windows, uint8 (T, H, W, 3) each, to a raw file (through a temporary name).

    Returns:
        The shape of the file's array, (N, T, H, W, 3).
    """
    temporary = path.with_name(path.name + ".part")
    num_windows, shape = 0, (0, 0, 0, 3)
    with temporary.open("wb") as file:
        for window in windows:
            file.write(window.tobytes())
            num_windows, shape = num_windows + 1, window.shape
    temporary.replace(path)
    return (num_windows, *shape)
