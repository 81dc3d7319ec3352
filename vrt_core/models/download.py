"""Getting a model's weights when the user asks: fetch, verify, convert, keep."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import InputError, WeightsError
from .cards import ModelCard, shipped_dir
from .checkpoint import Checkpoint, check_fit, file_kind, read_checkpoint, save_weights
from .digests import RECORD_FILE, exclusive, file_sha256, record, recorded
from .http import Check, OnBytes, Patience, check_space, fetch, forget, naming_disk_errors, shown
from .store import check_digest, load_weights, models_dir

_log = logging.getLogger(__name__)

_WEIGHT_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def download(
    card: ModelCard,
    *,
    folder: str | Path | None = None,
    source: str | Path | None = None,
    on_bytes: OnBytes | None = None,
    check: Check | None = None,
    patience: Patience | None = None,
) -> Path:
    """Fetch a model's weights, verify them, and keep them as safetensors without index buffers.

    Bytes gather in ``FILE.part`` in ``folder``; when interrupted or cancelled, the next call goes on from there.
    The whole is compared with the published sha256; where none is published, the first download is recorded in
    ``checksums.json`` and later ones must equal it. Then it must load, and fit the model. Of a released ``.pth``
    only the conversion is kept, with the digest of the original in the record; safetensors are kept as they are.
    A file that is already there and in order is not fetched again. Two calls for one model wait for each other.

    Args:
        card: Of a single model; its licence is for the caller to show.
        folder: Where to keep the file; :func:`models_dir` by default.
        source: Instead of the card's URL: the URL of a mirror (of the file, or of the folder that holds it), or
            a local file or folder.
        on_bytes: Called with (bytes here, bytes in all or None).
        check: Called often; raises to cancel.
        patience: Timeout and retries.

    Returns:
        Path of the weights.

    Raises:
        InputError: If the card is a chain, or the source is neither an http(s) address nor a local path.
        WeightsError: If the weights cannot be had, or are not the right ones; says why and what to do.
    """
    if card.links:
        raise InputError(f"model {card.name} is a chain: download {' and '.join(card.links)}")
    if source is None and card.shipped:
        source = _shipped(card)
        if folder is None:
            return source
    if source is None and card.url is None:
        raise WeightsError(f"no address is known for the weights of {card.name}; give a source (--from)")
    origin = _locate(card, str(source if source is not None else card.url))
    shown_origin = shown(origin) if isinstance(origin, str) else str(origin)
    keep = Path(folder).expanduser() if folder is not None else models_dir()
    with naming_disk_errors(keep):
        keep.mkdir(parents=True, exist_ok=True)
    target = keep / card.converted_file

    def say_waiting() -> None:
        _log.warning("waiting for another download of %s", card.name)

    with ExitStack() as held:
        with naming_disk_errors(target):
            held.enter_context(exclusive(target, check=check, on_wait=say_waiting))
        for path in (target, keep / card.file):
            if _is_in_order(path, card):
                return path
        part = keep / f"{card.file}.part"
        for last in (False, True):
            joined = _bring(card, origin, part, patience, on_bytes, check)
            try:
                _accept(card, shown_origin, part, target, check)
            except WeightsError as error:
                forget(part)
                reason = str(error).replace(str(part), shown_origin)
                if last or not joined:
                    raise WeightsError(reason) from error
                _log.warning("%s; it was put together from several connections, so once more from the start", reason)
            else:
                return target
    raise AssertionError("unreachable")


def _shipped(card: ModelCard) -> Path:
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
        if split.query or split.path.lower().endswith(_WEIGHT_SUFFIXES):
            return source
        return f"{source.rstrip('/')}/{card.file}"
    if "://" in source and scheme != "file":
        raise InputError(f"source ({shown(source)}) must be an http or https address, a local file, or a local folder")
    path = Path(url2pathname(urlsplit(source).path) if scheme == "file" else source).expanduser()
    if path.is_file():
        return path
    names = list(dict.fromkeys((card.file, card.converted_file)))
    for name in names:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"source ({path}) is neither a file nor a folder that holds {' or '.join(names)}")


def _is_in_order(path: Path, card: ModelCard) -> bool:
    if not path.is_file():
        return False
    try:
        check_digest(path, card)
        load_weights(card, path)
    except WeightsError as error:
        _log.warning("%s; fetching it again", error)
        return False
    return True


def _bring(
    card: ModelCard,
    origin: str | Path,
    part: Path,
    patience: Patience | None,
    on_bytes: OnBytes | None,
    check: Check | None,
) -> bool:
    """Fetch or copy into ``part``. Returns whether it was put together from several connections."""
    if isinstance(origin, str):
        is_release = urlsplit(origin).path.lower().endswith(Path(card.file).suffix)
        return fetch(
            origin,
            part,
            expected_bytes=card.bytes if is_release else None,
            digest_known=is_release and card.sha256 is not None,
            patience=patience,
            on_bytes=on_bytes,
            check=check,
        )
    forget(part)
    try:
        total = origin.stat().st_size
        source = origin.open("rb")
    except OSError as error:
        raise WeightsError(f"cannot read {origin}: {error.strerror or error}") from error
    with source, naming_disk_errors(part):
        check_space(part.parent, total)
        with part.open("wb") as file:
            while piece := source.read(1 << 22):
                if check:
                    check()
                file.write(piece)
                if on_bytes:
                    on_bytes(file.tell(), total)
    return False


def _accept(card: ModelCard, shown_origin: str, part: Path, target: Path, check: Check | None) -> None:
    """Verify what has arrived, then turn it into ``target``.

    Raises:
        WeightsError: If it is not what it should be; ``part`` is of no further use then.
    """
    is_safetensors = file_kind(part) == "safetensors"  # looks at the first bytes only
    is_release = is_safetensors == card.file.endswith(".safetensors")
    name = target.name if is_safetensors else card.file
    digest = file_sha256(part, check=check)
    entry = {"sha256": digest, "bytes": part.stat().st_size, "from": shown_origin}
    _compare(card, name, entry, is_release, target.parent)
    checkpoint = read_checkpoint(part)
    check_fit(checkpoint, card, part)
    if is_safetensors:
        if not is_release and card.sha256:
            _check_told_origin(card, checkpoint, shown_origin)
        with naming_disk_errors(target):
            record(target.parent, {name: entry})
            os.replace(part, target)
    else:
        _convert(card, checkpoint, target, {name: entry})
    forget(part)


def _compare(card: ModelCard, name: str, entry: dict[str, Any], is_release: bool, keep: Path) -> None:
    """Compare size and digest with what is published, else with what was recorded first."""
    found, arrived = entry["sha256"], entry["bytes"]
    if is_release and card.bytes is not None and arrived != card.bytes:
        raise WeightsError(f"{entry['from']} has {arrived} bytes, expected {card.bytes}: another or a changed file")
    if is_release and card.sha256 is not None:
        if found != card.sha256:
            raise WeightsError(
                f"{entry['from']} is not the published {card.file}: its sha256 is {found[:16]}..., "
                f"expected {card.sha256[:16]}...; use another source (--from)"
            )
    elif (known := recorded(keep, name)) and known["sha256"] != found:
        raise WeightsError(
            f"{entry['from']} is not the {name} that was downloaded first (from {known.get('from', 'unknown')}): "
            f"its sha256 is {found[:16]}..., recorded {known['sha256'][:16]}...; "
            f"if you trust the new one, delete the entry {name!r} in {keep / RECORD_FILE}"
        )


def _check_told_origin(card: ModelCard, checkpoint: Checkpoint, shown_origin: str) -> None:
    """A conversion has no published digest, but it may name that of its original."""
    told = checkpoint.about.get("source_sha256")
    if told is not None and told != card.sha256:
        raise WeightsError(f"{shown_origin} is no conversion of the published {card.file}; use another source (--from)")
    _log.warning("%s is a conversion: the published sha256 of %s cannot be compared with it", shown_origin, card.file)


def _convert(card: ModelCard, checkpoint: Checkpoint, target: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Write the safetensors file, and both digests into the record before it takes its name."""
    entry = entries[card.file]
    about = {"model": card.name, "source_sha256": entry["sha256"]}
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        with naming_disk_errors(target):
            check_space(target.parent, sum(t.numel() * 4 for t in checkpoint.tensors.values()))
            save_weights(fresh, checkpoint.tensors, about=about)
            made = {"sha256": file_sha256(fresh), "bytes": fresh.stat().st_size, "from": card.file}
            record(target.parent, {**entries, target.name: made})
            os.replace(fresh, target)
    finally:
        if fresh.exists():
            fresh.unlink()
