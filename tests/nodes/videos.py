"""Calls of VRT Restore Video, and what is in the files that it gives."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
from comfy_api.latest import InputImpl

from vrt_nodes.video_node import RestoreVideo

FIELDS = {"sigma_255": -1.0, "factor": "2", "crf": 16.0, "cuts": "off"}
FIELDS |= dict.fromkeys(("window_frames", "overlap_frames", "tile_px", "tile_overlap_px"), -1)


def restore(model: Any, video: Any, **widgets: Any) -> Path:
    result = RestoreVideo.execute(model, video, **{**FIELDS, **widgets})[0]
    assert isinstance(result, InputImpl.VideoFromFile)
    return Path(result.get_stream_source())


def from_file(path: Path | io.BytesIO, start: float = 0, duration: float = 0) -> Any:
    return InputImpl.VideoFromFile(
        path if isinstance(path, io.BytesIO) else str(path), start_time=start, duration=duration
    )


def sound_of(path: Path) -> np.ndarray:
    """Return the samples of the first audio stream, (C, S)."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
