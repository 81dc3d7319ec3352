"""Downloads the weights of a model: fetches or copies the file, verifies it, converts it to safetensors."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import InputError, WeightsError
from .addresses import redacted
from .cards import ModelCard, shipped_dir
from .checkpoint import WEIGHT_SUFFIXES, Checkpoint, check_fit, file_kind, read_checkpoint, save_weights
from .digests import RECORD_FILE, add_records, file_sha256, find_record
from .files import CancelCheck, check_space, explain_disk_errors, hold_lock
from .http import OnBytes, RetryPolicy, discard_partial, fetch
from .store import check_digest, load_weights, models_dir

_log = logging.getLogger(__name__)

_COPY_CHUNK_BYTES = 1 << 22


def download(
    card: ModelCard,
    *,
    folder: str | Path | None = None,
    source: str | Path | None = None,
    on_bytes: OnBytes | None = None,
    raise_if_cancelled: CancelCheck | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Path:
    """Fetch a model's weights, verify them, and store them as safetensors without index buffers.

    Data is written to ``FILE.part`` in ``folder``; after an interruption the next call resumes it. The complete file
    is compared with the published sha256. If none is published, the digest of the first download is recorded in
    ``checksums.json``, and later ones must equal it. Then the file must load and fit the model. Of a released
    ``.pth`` only the conversion stays, with the digest of the original in the record; safetensors stay as they are.
    A valid file that exists already is not fetched again. Two calls for one model wait for each other.

    Args:
        card: Of a single model; the caller shows its licence.
        folder: Where to store the file; :func:`models_dir` by default.
        source: Instead of the card's URL: the URL of a mirror (of the file, or of the folder that contains it), or
            a local file or folder.
        on_bytes: Called with (bytes so far, bytes in total or None).
        raise_if_cancelled: Called often; raises to cancel.
        retry_policy: Timeout and retries.

    Returns:
        Path of the weights.

    Raises:
        InputError: If the card is a chain, or the source is neither an http(s) address nor a local path.
        WeightsError: If the weights cannot be fetched, or are the wrong ones; the message says why and what to do.
    """
    if card.links:
        raise InputError(f"model {card.name} is a chain: download {' and '.join(card.links)}")
    if source is None and card.shipped:
        source = _shipped_path(card)
        if folder is None:
            return source
    if source is None and card.url is None:
        raise WeightsError(f"no address is known for the weights of {card.name}; give a source (--from)")
    return _Job(
        card=card,
        origin=_locate(card, str(source if source is not None else card.url)),
        folder=Path(folder).expanduser() if folder is not None else models_dir(),
        on_bytes=on_bytes,
        raise_if_cancelled=raise_if_cancelled,
        retry_policy=retry_policy,
    ).run()


def _shipped_path(card: ModelCard) -> Path:
    path = shipped_dir() / card.file
    if not path.is_file():
        raise WeightsError(f"model {card.name} ships with the project, but {path} is missing: reinstall the project")
    return path


def _locate(card: ModelCard, source: str) -> str | Path:
    """The URL or the local path of the file itself."""
    try:
        scheme = urlsplit(source).scheme.lower()
    except ValueError as error:
        raise InputError(f"source ({source}) is not a valid address: {error}") from error
    if scheme in ("http", "https"):
        split = urlsplit(source)
        if split.query or split.path.lower().endswith(WEIGHT_SUFFIXES):
            return source
        return f"{source.rstrip('/')}/{card.file}"
    if "://" in source and scheme != "file":
        raise InputError(
            f"source ({redacted(source)}) must be an http or https address, a local file, or a local folder"
        )
    path = Path(url2pathname(urlsplit(source).path) if scheme == "file" else source).expanduser()
    if path.is_file():
        return path
    names = list(dict.fromkeys((card.file, card.converted_file)))
    for name in names:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"source ({path}) is neither a file nor a folder that holds {' or '.join(names)}")


def _is_valid(path: Path, card: ModelCard) -> bool:
    """Whether the file exists, has the expected digest, and loads."""
    if not path.is_file():
        return False
    try:
        check_digest(path, card)
        load_weights(card, path)
    except WeightsError as error:
        _log.warning("%s; fetching it again", error)
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One download, from its origin to the verified file in ``folder``."""

    card: ModelCard
    origin: str | Path
    folder: Path
    on_bytes: OnBytes | None
    raise_if_cancelled: CancelCheck | None
    retry_policy: RetryPolicy | None

    @property
    def target(self) -> Path:
        """The file to make."""
        return self.folder / self.card.converted_file

    @property
    def part(self) -> Path:
        """The file while it is incomplete or not verified yet."""
        return self.folder / f"{self.card.file}.part"

    @property
    def origin_name(self) -> str:
        """The origin as messages and the record name it."""
        return redacted(self.origin) if isinstance(self.origin, str) else str(self.origin)

    def run(self) -> Path:
        """Return the file; fetch it if no valid one is in the folder. Other downloads of the model wait meanwhile."""

        def log_waiting() -> None:
            _log.warning("waiting for another download of %s", self.card.name)

        with explain_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = hold_lock(self.target, raise_if_cancelled=self.raise_if_cancelled, on_wait=log_waiting)
        with ExitStack() as stack:
            with explain_disk_errors(self.target):
                stack.enter_context(lock)
            for path in (self.target, self.folder / self.card.file):
                if _is_valid(path, self.card):
                    return path
            return self._fetch_and_install()

    def _fetch_and_install(self) -> Path:
        """Fetch, verify and install; if a file joined from several connections is wrong, once more from the start."""
        for is_last_attempt in (False, True):
            is_joined = self._fetch_or_copy()
            try:
                self._verify_and_install()
            except WeightsError as error:
                discard_partial(self.part)
                reason = str(error).replace(str(self.part), self.origin_name)
                if is_last_attempt or not is_joined:
                    raise WeightsError(reason) from error
                _log.warning("%s; it was put together from several connections, so once more from the start", reason)
            else:
                return self.target
        raise AssertionError("unreachable")

    def _fetch_or_copy(self) -> bool:
        """Write the origin to ``part``; return whether it was joined from several connections."""
        if isinstance(self.origin, Path):
            self._copy(self.origin)
            return False
        is_release = urlsplit(self.origin).path.lower().endswith(Path(self.card.file).suffix)
        return fetch(
            self.origin,
            self.part,
            expected_bytes=self.card.bytes if is_release else None,
            digest_known=is_release and self.card.sha256 is not None,
            retry_policy=self.retry_policy,
            on_bytes=self.on_bytes,
            raise_if_cancelled=self.raise_if_cancelled,
        )

    def _copy(self, origin: Path) -> None:
        discard_partial(self.part)
        try:
            total = origin.stat().st_size
            source = origin.open("rb")
        except OSError as error:
            raise WeightsError(f"cannot read {origin}: {error.strerror or error}") from error
        with source, explain_disk_errors(self.part):
            check_space(self.folder, total)
            with self.part.open("wb") as file:
                while chunk := source.read(_COPY_CHUNK_BYTES):
                    if self.raise_if_cancelled:
                        self.raise_if_cancelled()
                    file.write(chunk)
                    if self.on_bytes:
                        self.on_bytes(file.tell(), total)

    def _verify_and_install(self) -> None:
        """Verify ``part``, then move or convert it to ``target``.

        Raises:
            WeightsError: If the file is not the expected one; ``part`` is useless then.
        """
        card, part = self.card, self.part
        is_safetensors = file_kind(part) == "safetensors"  # reads the first bytes only
        is_release = is_safetensors == card.file.endswith(".safetensors")
        name = self.target.name if is_safetensors else card.file
        digest = file_sha256(part, raise_if_cancelled=self.raise_if_cancelled)
        entry = {"sha256": digest, "bytes": part.stat().st_size, "from": self.origin_name}
        if is_release:
            _check_published_size(card, entry)
        if is_release and card.sha256 is not None:
            _check_published_digest(card, entry)
        else:
            _check_recorded_digest(self.folder, name, entry)
        checkpoint = read_checkpoint(part)
        check_fit(checkpoint, card, part)
        if is_safetensors:
            if not is_release and card.sha256:
                _check_conversion(card, checkpoint, self.origin_name)
            with explain_disk_errors(self.target):
                add_records(self.folder, {name: entry})
                os.replace(part, self.target)
        else:
            self._convert(checkpoint, entry)
        discard_partial(part)

    def _convert(self, checkpoint: Checkpoint, entry: dict[str, Any]) -> None:
        """Write the safetensors file; both digests are recorded before the file gets its final name."""
        target = self.target
        temporary = target.with_name(f"{target.name}.{os.getpid()}.new")
        try:
            with explain_disk_errors(target):
                check_space(self.folder, sum(t.numel() * 4 for t in checkpoint.tensors.values()))
                metadata = {"model": self.card.name, "source_sha256": entry["sha256"]}
                save_weights(temporary, checkpoint.tensors, metadata=metadata)
                converted = {
                    "sha256": file_sha256(temporary),
                    "bytes": temporary.stat().st_size,
                    "from": self.card.file,
                }
                add_records(self.folder, {self.card.file: entry, target.name: converted})
                os.replace(temporary, target)
        finally:
            if temporary.exists():
                temporary.unlink()


def _check_published_size(card: ModelCard, entry: dict[str, Any]) -> None:
    if card.bytes is not None and entry["bytes"] != card.bytes:
        raise WeightsError(
            f"{entry['from']} has {entry['bytes']} bytes, expected {card.bytes}: another or a changed file"
        )


def _check_published_digest(card: ModelCard, entry: dict[str, Any]) -> None:
    if entry["sha256"] != card.sha256:
        raise WeightsError(
            f"{entry['from']} is not the published {card.file}: its sha256 is {entry['sha256'][:16]}..., "
            f"expected {str(card.sha256)[:16]}...; use another source (--from)"
        )


def _check_recorded_digest(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Compare with the first download of the file, if there was one."""
    first = find_record(folder, name)
    if first is not None and first["sha256"] != entry["sha256"]:
        raise WeightsError(
            f"{entry['from']} is not the {name} that was downloaded first (from {first.get('from', 'unknown')}): "
            f"its sha256 is {entry['sha256'][:16]}..., recorded {first['sha256'][:16]}...; "
            f"if you trust the new one, delete the entry {name!r} in {folder / RECORD_FILE}"
        )


def _check_conversion(card: ModelCard, checkpoint: Checkpoint, origin_name: str) -> None:
    """Check the digest of the original that a conversion states; its own digest is not published."""
    source_sha256 = checkpoint.metadata.get("source_sha256")
    if source_sha256 is not None and source_sha256 != card.sha256:
        raise WeightsError(f"{origin_name} is no conversion of the published {card.file}; use another source (--from)")
    _log.warning("%s is a conversion: the published sha256 of %s cannot be compared with it", origin_name, card.file)
