"""Fetching one file over HTTP: resumable, patient with bad lines, strict about what it joins together."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ..errors import WeightsError

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 18
_PROGRESS_BYTES = 1 << 20  # a try that brought this much starts the count of tries anew
_PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_POLL_SECONDS = 0.1

OnBytes = Callable[[int, "int | None"], None]
Check = Callable[[], None]


class _LineError(Exception):
    """The line failed in a way that may pass."""


@dataclass(frozen=True)
class _Origin:
    """What a partial file is a part of, kept in ``PART.json``."""

    url: str
    """As :func:`shown`: signatures in the query may change between tries."""
    validator: str | None = None
    """Strong ETag, else Last-Modified: the same value means the same bytes."""
    total_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to put up with a bad line."""

    timeout_seconds: float = 30.0
    """Silence after which a connection is given up."""
    retries: int = 4
    """Tries after the first, in a row, none of which brought 1 MiB."""
    backoff_seconds: float = 1.0
    """Wait before the second try; doubles with each."""


def fetch(
    url: str,
    part: Path,
    *,
    expected_bytes: int | None = None,
    digest_known: bool = False,
    patience: Patience | None = None,
    on_bytes: OnBytes | None = None,
    check: Check | None = None,
) -> bool:
    """Fetch ``url`` into ``part``, going on where an earlier try of the same address stopped.

    A partial file is continued only if the server proves that it still has the same file (ETag or
    Last-Modified), or if the caller can tell by a digest afterwards. When cancelled or interrupted, what has
    arrived stays for the next time.

    Args:
        url: http or https.
        part: The file to write; ``part`` + ".json" beside it says what it is a part of.
        expected_bytes: Size that the whole must have, if known.
        digest_known: Whether the caller compares a digest afterwards.
        patience: Timeout and retries.
        on_bytes: Called with (bytes here, bytes in all or None).
        check: Called before every piece; raises to cancel.

    Returns:
        Whether bytes of an earlier connection are in the file.

    Raises:
        WeightsError: If the server refuses, sends something else, or the line stays bad.
    """
    patience = patience or Patience()
    tries, joined = 0, False
    while True:
        before = _size(part)
        try:
            joined = _fetch_once(url, part, expected_bytes, digest_known, patience, on_bytes, check)
            return joined
        except _LineError as failure:
            tries = 1 if _size(part) - before >= _PROGRESS_BYTES else tries + 1
            if tries > patience.retries:
                raise WeightsError(
                    f"could not fetch {shown(url)}: {failure}, {tries} times; what has arrived is kept "
                    f"({_size(part)} bytes): try again later to go on, or use another source (--from)"
                ) from failure
            wait_seconds = patience.backoff_seconds * 2 ** (tries - 1)
            _log.warning("%s: %s; trying again in %g s", shown(url), failure, wait_seconds)
            _sleep(wait_seconds, check)


def forget(part: Path) -> None:
    """Delete a partial file and what is known of it."""
    for path in (part, _origin_path(part)):
        with suppress(FileNotFoundError):
            path.unlink()


def shown(url: str) -> str:
    """The address without what may be secret: user, password, query."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return urlunsplit((split.scheme, host, split.path, "", ""))


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about a file that is written into ones that say what to do.

    Raises:
        WeightsError: Instead of OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(f"no space left for {path} ({reason}); free some, or choose another folder") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise WeightsError(f"no permission to write {path} ({reason}); choose another folder") from error
        raise WeightsError(f"cannot write {path}: {reason}; choose another folder") from error


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise WeightsError if the disk of ``folder`` has less free."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise WeightsError(
            f"no space left in {folder}: {needed_bytes / 1e6:.0f} MB are needed, {free_bytes / 1e6:.0f} MB are free; "
            "free some, or choose another folder"
        )


def _fetch_once(
    url: str,
    part: Path,
    expected_bytes: int | None,
    digest_known: bool,
    patience: Patience,
    on_bytes: OnBytes | None,
    check: Check | None,
) -> bool:
    """One connection. Returns whether earlier bytes were kept; raises _LineError if the line failed."""
    with naming_disk_errors(part):
        offset, origin = _resume_point(url, part, digest_known)
    if offset and offset == origin.total_bytes:
        return True
    if check:
        check()
    with _open(url, offset, origin, patience.timeout_seconds, part) as response:
        offset = _check_start(response, offset, origin, part)
        total = _total_bytes(response, offset)
        if expected_bytes is not None and total is not None and total != expected_bytes:
            raise WeightsError(f"{shown(url)} has {total} bytes, expected {expected_bytes}: another or a changed file")
        with naming_disk_errors(part):
            check_space(part.parent, (total or 0) - offset)
            file = part.open("ab" if offset else "wb")  # empties an old part before the new origin is written
            _write_origin(part, _Origin(shown(url), _validator(response), total))
        done = offset
        with file:
            while True:
                if check:
                    check()
                if on_bytes:
                    on_bytes(done, total)
                piece = _read_piece(response)
                if not piece:
                    break
                done += len(piece)
                with naming_disk_errors(part):
                    file.write(piece)
            with naming_disk_errors(part):
                file.flush()
    if total is not None and done != total:
        raise _LineError(f"the connection ended after {done} of {total} bytes")
    if expected_bytes is not None and done != expected_bytes:
        forget(part)
        raise WeightsError(f"{shown(url)} sent {done} bytes, expected {expected_bytes}: another or a changed file")
    if total is None:
        with naming_disk_errors(part):
            _write_origin(part, _Origin(shown(url), _validator(response), done))
    return offset > 0


def _resume_point(url: str, part: Path, digest_known: bool) -> tuple[int, _Origin]:
    """How many bytes of ``part`` to keep, and what they are a part of."""
    try:
        origin = _Origin(**json.loads(_origin_path(part).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return 0, _Origin(shown(url))
    size = _size(part)
    provable = origin.validator is not None or digest_known or size == origin.total_bytes
    if origin.url != shown(url) or not provable or (origin.total_bytes is not None and size > origin.total_bytes):
        return 0, _Origin(shown(url))
    return size, origin


def _open(url: str, offset: int, origin: _Origin, timeout_seconds: float, part: Path) -> http.client.HTTPResponse:
    headers = {"User-Agent": "vrt", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is longer than the file: not the same file
            forget(part)
            raise _LineError("the file on the server has changed") from error
        if error.code in _PASSING_STATUSES:
            raise _LineError(f"the server answered {error.code} {error.reason}") from error
        raise WeightsError(
            f"could not fetch {shown(url)}: the server answered {error.code} {error.reason}; "
            "look at the address, or use another source (--from)"
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            told = "not continued without a valid certificate"
            raise WeightsError(f"could not fetch {shown(url)}: {error.reason}; {told}") from error
        raise _LineError(_reason(error.reason)) from error
    except ValueError as error:  # http.client.InvalidURL is one too
        raise WeightsError(f"could not fetch {shown(url)}: not a valid address ({error})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _LineError(_reason(error)) from error


def _check_start(response: http.client.HTTPResponse, offset: int, origin: _Origin, part: Path) -> int:
    """Where in the file the response begins; raises if it is not what was asked for."""
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise WeightsError(
            f"{shown(response.url)} is a web page, not a weights file; "
            "look at the address, or use another source (--from)"
        )
    if response.status == 200:
        return 0  # also if the server knows no ranges, or the file has changed: from the start
    span = _content_range(response)
    fits = response.status == 206 and span is not None and span[0] == offset
    if fits and span is not None:
        same_size = None in (span[1], origin.total_bytes) or span[1] == origin.total_bytes
        same_file = origin.validator is None or _validator(response) in (None, origin.validator)
        if same_size and same_file:
            return offset
    forget(part)
    raise _LineError("the file on the server has changed")


def _total_bytes(response: http.client.HTTPResponse, offset: int) -> int | None:
    span = _content_range(response)
    if response.status == 206 and span is not None and span[1] is not None:
        return span[1]
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int | None] | None:
    """First byte and total size of a partial response."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    return (int(match[1]), None if match[2] == "*" else int(match[2])) if match else None


def _validator(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _read_piece(response: http.client.HTTPResponse) -> bytes:
    """Bytes as they come, empty at the end."""
    try:
        return response.read1(_PIECE_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _LineError(_reason(error)) from error


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "the server was silent for too long"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _sleep(seconds: float, check: Check | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if check:
            check()
        time.sleep(min(left, _POLL_SECONDS))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _origin_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write_origin(part: Path, origin: _Origin) -> None:
    _origin_path(part).write_text(json.dumps(asdict(origin)), encoding="utf-8")
