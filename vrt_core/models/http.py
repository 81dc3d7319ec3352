"""HTTP client for one file: resumes interrupted transfers, retries transient errors, joins only parts of one file."""

from __future__ import annotations

import http.client
import json
import logging
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import WeightsError
from .addresses import open_address, redacted
from .files import CancelCheck, check_space, explain_disk_errors, parse_json

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_PROGRESS_BYTES = 1 << 20  # an attempt that received this much resets the count of attempts
_MAX_FILE_BYTES = 2 << 30
"""Limit of a file whose size is not known before; the largest published one has 0.2 GB, by its shapes."""
_TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_POLL_SECONDS = 0.1

OnBytes = Callable[[int, "int | None"], None]
"""Called with the bytes received so far and the total; None if the server does not say."""


class TransientNetworkError(Exception):
    """A network or server error after which another attempt may succeed."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Timeout and retries of a download."""

    timeout_seconds: float = 30.0
    """A connection that is silent for so long is closed."""

    retries: int = 4
    """Further attempts after the first; an attempt that received 1 MiB resets the count."""

    backoff_seconds: float = 1.0
    """Delay before the second attempt; it doubles with each."""


@dataclass(frozen=True)
class _Origin:
    """The remote file that a partial file belongs to; stored beside it in ``PART.json``."""

    url: str
    """As :func:`redacted`: signatures in the query may change between attempts."""

    validator: str | None = None
    """Strong ETag, else Last-Modified: an equal value means equal bytes."""

    total_bytes: int | None = None


def fetch(
    url: str,
    part: Path,
    *,
    expected_bytes: int | None = None,
    digest_known: bool = False,
    retry_policy: RetryPolicy | None = None,
    on_bytes: OnBytes | None = None,
    raise_if_cancelled: CancelCheck | None = None,
) -> bool:
    """Fetch ``url`` into ``part``, resuming where an earlier attempt at the same address stopped.

    A partial file is continued only if the server proves that it still has the same file (by ETag or
    Last-Modified), or if the caller compares a digest afterwards. After an error or a cancellation the partial file
    stays for the next call.

    Args:
        url: http or https.
        part: The file to write; ``part`` + ".json" beside it describes its origin.
        expected_bytes: Size of the complete file, if known.
        digest_known: Whether the caller compares a digest afterwards.
        retry_policy: Timeout and retries.
        on_bytes: Called with (bytes so far, bytes in total or None).
        raise_if_cancelled: Called before every chunk; raises to cancel.

    Returns:
        Whether the file contains bytes of an earlier connection.

    Raises:
        WeightsError: If the server refuses, sends something else, or the retries are used up.
    """
    policy = retry_policy or RetryPolicy()
    transfer = _Transfer(
        url=url,
        part=part,
        expected_bytes=expected_bytes,
        digest_known=digest_known,
        timeout_seconds=policy.timeout_seconds,
        on_bytes=on_bytes,
        raise_if_cancelled=raise_if_cancelled,
    )
    attempts = 0
    while True:
        size_before = _size(part)
        try:
            return transfer.run()
        except TransientNetworkError as error:
            attempts = 1 if _size(part) - size_before >= _PROGRESS_BYTES else attempts + 1
            if attempts > policy.retries:
                raise WeightsError(
                    f"could not fetch {redacted(url)}: {error}, {attempts} times; what has arrived is kept "
                    f"({_size(part)} bytes): try again later to go on, or use another source (--from)"
                ) from error
            delay_seconds = policy.backoff_seconds * 2 ** (attempts - 1)
            _log.warning("%s: %s; trying again in %g s", redacted(url), error, delay_seconds)
            _sleep(delay_seconds, raise_if_cancelled)


def discard_partial(part: Path) -> None:
    """Delete a partial file and the description of its origin."""
    for path in (part, _origin_path(part)):
        with suppress(FileNotFoundError):
            path.unlink()


@dataclass(frozen=True, kw_only=True)
class _Transfer:
    """One file on its way from ``url`` to ``part``; every ``run`` is one connection."""

    url: str
    part: Path
    expected_bytes: int | None
    digest_known: bool
    timeout_seconds: float
    on_bytes: OnBytes | None
    raise_if_cancelled: CancelCheck | None

    def run(self) -> bool:
        """Receive the rest of the file; return whether it contains bytes of an earlier connection.

        Raises:
            TransientNetworkError: If another attempt may succeed.
            WeightsError: If not.
        """
        with explain_disk_errors(self.part):
            offset, origin = self._resume_point()
        if offset and offset == origin.total_bytes:
            return True
        if self.raise_if_cancelled:
            self.raise_if_cancelled()
        with self._open(offset, origin) as response:
            offset = self._start_offset(response, offset, origin)
            total = _total_bytes(response, offset)
            if total is not None:
                self._check_total(total)
            with explain_disk_errors(self.part):
                check_space(self.part.parent, (total or 0) - offset)
                file = self.part.open("ab" if offset else "wb")  # truncates before the new origin is written
                self._write_origin(_Origin(redacted(self.url), _validator(response), total))
            with file:
                received = self._receive(response, file, offset, total)
        self._check_size(received, total)
        if total is None:
            with explain_disk_errors(self.part):
                self._write_origin(_Origin(redacted(self.url), _validator(response), received))
        return offset > 0

    def _resume_point(self) -> tuple[int, _Origin]:
        """Number of bytes of the partial file that can be used, and the file that they belong to."""
        try:
            origin = _Origin(**parse_json(_origin_path(self.part).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return 0, _Origin(redacted(self.url))
        size = _size(self.part)
        is_verifiable = origin.validator is not None or self.digest_known or size == origin.total_bytes
        is_too_long = origin.total_bytes is not None and size > origin.total_bytes
        if origin.url != redacted(self.url) or not is_verifiable or is_too_long:
            return 0, _Origin(redacted(self.url))
        return size, origin

    def _open(self, offset: int, origin: _Origin) -> http.client.HTTPResponse:
        headers = {"User-Agent": "vrt", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if origin.validator:
                headers["If-Range"] = origin.validator
        address = redacted(self.url)
        try:
            request = urllib.request.Request(self.url, headers=headers)
            return open_address(request, timeout_seconds=self.timeout_seconds)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # the partial file is longer than the remote one: not the same file
                discard_partial(self.part)
                raise TransientNetworkError("the file on the server has changed") from error
            if error.code in _TRANSIENT_STATUSES:
                raise TransientNetworkError(f"the server answered {error.code} {error.reason}") from error
            raise WeightsError(
                f"could not fetch {address}: the server answered {error.code} {error.reason}; "
                "look at the address, or use another source (--from)"
            ) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise WeightsError(
                    f"could not fetch {address}: {error.reason}; not continued without a valid certificate"
                ) from error
            raise TransientNetworkError(_reason(error.reason)) from error
        except ValueError as error:  # http.client.InvalidURL is one too
            raise WeightsError(f"could not fetch {address}: not a valid address ({error})") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransientNetworkError(_reason(error)) from error

    def _start_offset(self, response: http.client.HTTPResponse, offset: int, origin: _Origin) -> int:
        """Position in the file at which the response begins: 0, or ``offset`` if the server resumes the same file."""
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise WeightsError(
                f"{redacted(response.url)} is a web page, not a weights file; "
                "look at the address, or use another source (--from)"
            )
        if response.status == 200:
            return 0  # the server does not support ranges, or the file has changed (If-Range)
        span = _content_range(response)
        if response.status == 206 and span is not None and span[0] == offset:
            is_same_size = None in (span[1], origin.total_bytes) or span[1] == origin.total_bytes
            is_same_file = origin.validator is None or _validator(response) in (None, origin.validator)
            if is_same_size and is_same_file:
                return offset
        discard_partial(self.part)
        raise TransientNetworkError("the file on the server has changed")

    def _receive(self, response: http.client.HTTPResponse, file: BinaryIO, offset: int, total: int | None) -> int:
        """Append the body to ``file``; return the size of the file afterwards."""
        size = offset
        while True:
            if self.raise_if_cancelled:
                self.raise_if_cancelled()
            if self.on_bytes:
                self.on_bytes(size, total)
            chunk = _read_chunk(response)
            if not chunk:
                break
            size += len(chunk)
            if size > self.max_bytes:
                discard_partial(self.part)
                raise WeightsError(f"{redacted(self.url)} sent more than {self.max_bytes} bytes: not a weights file")
            with explain_disk_errors(self.part):
                file.write(chunk)
        with explain_disk_errors(self.part):
            file.flush()
        return size

    @property
    def max_bytes(self) -> int:
        """Size at which the transfer ends."""
        return _MAX_FILE_BYTES if self.expected_bytes is None else self.expected_bytes

    def _check_total(self, total: int) -> None:
        """Raise WeightsError unless the size that the server states is that of the file."""
        address = redacted(self.url)
        if self.expected_bytes is not None and total != self.expected_bytes:
            raise WeightsError(
                f"{address} has {total} bytes, expected {self.expected_bytes}: another or a changed file"
            )
        if total > self.max_bytes:
            raise WeightsError(f"{address} has {total} bytes, expected at most {self.max_bytes}: not a weights file")

    def _check_size(self, received: int, total: int | None) -> None:
        if total is not None and received != total:
            raise TransientNetworkError(f"the connection ended after {received} of {total} bytes")
        if self.expected_bytes is not None and received != self.expected_bytes:
            discard_partial(self.part)
            raise WeightsError(
                f"{redacted(self.url)} sent {received} bytes, expected {self.expected_bytes}: another or a changed file"
            )

    def _write_origin(self, origin: _Origin) -> None:
        _origin_path(self.part).write_text(json.dumps(asdict(origin)), encoding="utf-8")


def _total_bytes(response: http.client.HTTPResponse, offset: int) -> int | None:
    """Size of the complete file, if the server says it."""
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
    """Strong ETag, else Last-Modified."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _read_chunk(response: http.client.HTTPResponse) -> bytes:
    """The next bytes of the body; empty at its end."""
    try:
        return response.read1(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientNetworkError(_reason(error)) from error


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "the server was silent for too long"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _sleep(seconds: float, raise_if_cancelled: CancelCheck | None) -> None:
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        if raise_if_cancelled:
            raise_if_cancelled()
        time.sleep(min(remaining, _POLL_SECONDS))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _origin_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
