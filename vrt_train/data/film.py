"""Windows of a film: short runs of frames without a cut, as one uint8 array on disk."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

CUT_DIFFERENCE = 18.0  # mean absolute difference of two thumbnails, in 8-bit steps; more is a cut
FLAT_DEVIATION = 10.0  # standard deviation of a frame, in 8-bit steps; less is a title card or a fade


def read_film(path: Path, size_px: tuple[int, int], start: float = 0.0, stop: float = 1.0) -> Iterator[np.ndarray]:
    """Yield the frames of a part of a film, area-averaged to one size.

    Args:
        path: Any video file.
        size_px: (H, W) of the frames that come out.
        start: Where the part begins, as a fraction of the film, 0-1.
        stop: Where it ends (exclusive), as a fraction.

    Yields:
        uint8 (H, W, 3), RGB.
    """
    height, width = size_px
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count = stream.frames or count_frames(path)
        for index, frame in enumerate(container.decode(stream)):
            if index >= stop * count:
                return
            if index >= start * count:
                small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
                yield small.to_ndarray()


def count_frames(path: Path) -> int:
    """Count the pictures of a video whose container does not tell their number, without decoding them."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def is_cut(previous: np.ndarray, current: np.ndarray) -> bool:
    """Tell whether a new shot starts between two frames, (H, W, 3) uint8 each."""
    a, b = (frame[4::8, 4::8].astype(np.int16) for frame in (previous, current))
    return bool(np.abs(a - b).mean() > CUT_DIFFERENCE)


def cut_free_windows(frames: Iterator[np.ndarray], length: int, gap: int) -> Iterator[np.ndarray]:
    """Yield windows of ``length`` frames that hold no cut and no flat frame, ``gap`` frames apart or more.

    Yields:
        uint8 (T, H, W, 3).
    """
    window: list[np.ndarray] = []
    skip = 0
    previous = None
    for frame in frames:
        if previous is not None and is_cut(previous, frame):
            window, skip = [], 0
        previous = frame
        if skip:
            skip -= 1
        elif frame.std() < FLAT_DEVIATION:
            window = []
        else:
            window.append(frame)
        if len(window) == length:
            yield np.stack(window)
            window, skip = [], gap


def write_windows(path: Path, windows: Iterator[np.ndarray]) -> tuple[int, ...]:
    """Append windows to a raw file (through a temporary name) and return the shape of the whole, (N, T, H, W, 3)."""
    temporary = path.with_name(path.name + ".part")
    count, shape = 0, (0, 0, 0, 3)
    with temporary.open("wb") as file:
        for window in windows:
            file.write(window.tobytes())
            count, shape = count + 1, window.shape
    temporary.replace(path)
    return (count, *shape)
