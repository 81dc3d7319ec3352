"""Networks that fail and servers that resume incorrectly."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from urllib.response import addinfourl

import pytest

from tests.helpers.weights import (
    QUICK,
    TINY,
    FileServer,
    Handler,
    answer,
    assert_is_tiny,
    card_at,
    chunked,
    cut,
    fetch_tiny,
    names_in,
    release,
    serving,
    slow,
    stall,
)
from vrt_core.errors import Cancelled, WeightsError
from vrt_core.models import download as download_module
from vrt_core.models import http
from vrt_core.models.download import download
from vrt_core.models.http import RetryPolicy

RELEASE = release()
RELEASE_SHA256 = hashlib.sha256(RELEASE).hexdigest()
HALF = len(RELEASE) // 2

pytestmark = pytest.mark.usefixtures("own_models_dir")

# --- network errors ---


@pytest.mark.parametrize("fault", [cut(HALF), stall(HALF)], ids=["cut", "stalled"])
def test_a_broken_transfer_goes_on_where_it_stopped(server: FileServer, tmp_path: Path, fault: object) -> None:
    server.faults = [fault]  # type: ignore[list-item]
    assert_is_tiny(fetch_tiny(server, tmp_path))
    first, second = server.requests
    assert "range" not in first
    assert second["range"] == f"bytes={HALF}-"
    assert second["if-range"] == '"one"'


def test_an_interrupted_download_goes_on_next_time(server: FileServer, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > HALF:
            raise Cancelled

    server.faults = [slow(8, 0.02)]
    with pytest.raises(Cancelled):
        download(card_at(server.url), folder=tmp_path, retry_policy=QUICK, on_bytes=interrupt)
    partial_bytes = (tmp_path / f"{TINY.file}.part").stat().st_size
    assert HALF < partial_bytes < len(RELEASE)
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert server.requests[1]["range"] == f"bytes={partial_bytes}-"
    assert names_in(tmp_path) == ["checksums.json", "tiny.safetensors"]


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
def test_cancelling_keeps_the_partial_file(server: FileServer, tmp_path: Path, error: type[BaseException]) -> None:
    calls = iter(range(100))

    def raise_if_cancelled() -> None:
        if next(calls) >= 4:
            raise error

    server.faults = [slow(8, 0.02)]
    with pytest.raises(error):
        download(card_at(server.url), folder=tmp_path, retry_policy=QUICK, raise_if_cancelled=raise_if_cancelled)
    assert 0 < (tmp_path / f"{TINY.file}.part").stat().st_size < len(RELEASE)
    assert "tiny.safetensors" not in names_in(tmp_path)


def test_a_killed_process_leaves_a_part_that_is_continued(server: FileServer, tmp_path: Path) -> None:
    server.faults = [slow(40, 0.05)]
    code = (
        "import sys, os; from dataclasses import replace\n"
        "from vrt_core.models.cards import ModelCard; from vrt_core.models.download import download\n"
        f"card = ModelCard(name='tiny', task='deblur', file={TINY.file!r}, url={server.url + '/' + TINY.file!r})\n"
        f"download(card, folder={str(tmp_path)!r}, on_bytes=lambda done, total: done > {HALF} and os._exit(9))\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, check=False)
    assert ended.returncode == 9
    assert not (tmp_path / "tiny.safetensors").exists()
    assert_is_tiny(fetch_tiny(server, tmp_path))  # the lock of the dead process is free
    assert "range" in server.requests[1]


def test_a_network_that_keeps_failing_is_given_up_with_advice(server: FileServer, tmp_path: Path) -> None:
    server.faults = [cut(100), cut(100), cut(100), cut(100)]
    with pytest.raises(WeightsError, match=r"after 300 of \d+ bytes, 3 times; .* kept \(300 bytes\)") as caught:
        fetch_tiny(server, tmp_path)
    assert "--from" in str(caught.value)
    assert len(server.requests) == 3
    assert_is_tiny(fetch_tiny(server, tmp_path))  # one more cut, then the rest
    assert server.requests[-1]["range"] == "bytes=400-"


def test_attempts_with_progress_do_not_count(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_PROGRESS_BYTES", 1000)
    server.faults = [cut(1000)] * 8
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert len(server.requests) == 9


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_server_errors_are_retried(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults = [answer(status, b"busy"), answer(status, b"busy")]
    assert_is_tiny(fetch_tiny(server, tmp_path))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_permanent_server_errors_are_reported_at_once(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults = [answer(status, b"<html>no</html>", "text/html")]
    with pytest.raises(WeightsError, match=rf"{TINY.file}: the server answered {status} ") as caught:
        fetch_tiny(server, tmp_path)
    assert "--from" in str(caught.value)
    assert len(server.requests) == 1
    assert names_in(tmp_path) == []


def test_no_server_at_all(tmp_path: Path) -> None:
    with serving(RELEASE) as server:
        url = server.url
    with pytest.raises(WeightsError, match=r"could not fetch http://127\.0\.0\.1.*Connection refused, 3 times"):
        download(card_at(url), folder=tmp_path, retry_policy=QUICK)


def test_waiting_for_a_retry_can_be_cancelled(server: FileServer, tmp_path: Path) -> None:
    server.faults = [answer(503)]

    def raise_if_cancelled() -> None:
        if server.requests:
            raise Cancelled

    patient = RetryPolicy(backoff_seconds=60)
    with pytest.raises(Cancelled):
        download(card_at(server.url), folder=tmp_path, retry_policy=patient, raise_if_cancelled=raise_if_cancelled)


@pytest.mark.parametrize("whole", [True, False])
def test_a_server_that_does_not_state_the_size(server: FileServer, tmp_path: Path, whole: bool) -> None:
    server.faults = [chunked(10, whole)]
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert len(server.requests) == (1 if whole else 2)


# --- servers that resume incorrectly ---


def test_a_server_without_ranges_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.faults = [cut(HALF)]
    server.knows_ranges = False
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert len(server.requests) == 2


def test_without_a_validator_and_a_digest_nothing_is_joined(server: FileServer, tmp_path: Path) -> None:
    server.etag = None
    server.faults = [cut(HALF)]
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert "range" not in server.requests[1]


def test_with_a_known_digest_it_is_joined_without_a_validator(server: FileServer, tmp_path: Path) -> None:
    server.etag = None
    server.faults = [cut(HALF)]
    assert_is_tiny(fetch_tiny(server, tmp_path, sha256=RELEASE_SHA256))
    assert server.requests[1]["range"] == f"bytes={HALF}-"


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_in_between_is_fetched_anew(server: FileServer, tmp_path: Path, honest: bool) -> None:
    def change_and_cut(handler: Handler) -> None:
        cut(HALF)(handler)
        server.content, server.etag = release(seed=1), '"two"'

    def join_blindly(handler: Handler) -> None:
        # Ignores If-Range and sends the rest of the new file.
        del handler.headers["If-Range"]
        handler.send_whole()

    server.faults = [change_and_cut] if honest else [change_and_cut, join_blindly]
    assert_is_tiny(fetch_tiny(server, tmp_path), seed=1)


def test_a_wrong_join_that_only_the_digest_reveals_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    other = release(seed=1)
    server.etag = None
    server.content = other
    server.faults = [cut(HALF)] + [answer(503)] * 3
    with pytest.raises(WeightsError, match="could not fetch"):
        fetch_tiny(server, tmp_path, sha256=RELEASE_SHA256)
    server.content = RELEASE
    assert_is_tiny(fetch_tiny(server, tmp_path, sha256=RELEASE_SHA256))
    assert server.requests[-2]["range"] == f"bytes={HALF}-"
    assert "range" not in server.requests[-1]


def test_a_file_that_became_shorter_than_the_part(server: FileServer, tmp_path: Path) -> None:
    server.content = RELEASE + bytes(1000)
    server.faults = [cut(len(RELEASE) + 500), answer(416)]
    with pytest.raises(WeightsError, match="could not fetch"):
        fetch_tiny(server, tmp_path, retry_policy=RetryPolicy(timeout_seconds=0.4, retries=0))
    server.content = RELEASE
    assert_is_tiny(fetch_tiny(server, tmp_path))


def test_a_part_of_another_address_is_not_continued(server: FileServer, tmp_path: Path) -> None:
    server.faults = [cut(HALF), answer(404)]
    with pytest.raises(WeightsError):
        fetch_tiny(server, tmp_path)
    path = download(TINY, folder=tmp_path, source=f"{server.url}/mirror", retry_policy=QUICK)
    assert_is_tiny(path)
    assert server.requests[-1]["path"] == f"/mirror/{TINY.file}"
    assert "range" not in server.requests[-1]


def test_a_complete_part_is_not_requested_again(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download_module._Job, "_verify_and_install", fail)
        with pytest.raises(KeyboardInterrupt):
            fetch_tiny(server, tmp_path)
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert len(server.requests) == 1


# --- redirects and sizes ---


def redirect(location: str) -> Callable[[Handler], None]:
    def send(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return send


def test_a_redirect_to_another_address_is_followed(server: FileServer, tmp_path: Path) -> None:
    server.faults = [redirect(f"{server.url}/elsewhere")]
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert server.requests[1]["path"] == "/elsewhere"


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/a.pth", "file:///etc/passwd", "data:,a"])
def test_a_redirect_away_from_the_web_is_refused(server: FileServer, tmp_path: Path, location: str) -> None:
    server.faults = [redirect(location)]
    with pytest.raises(WeightsError, match=r"could not fetch http://127\.0\.0\.1.*(redirects to|answered 302)"):
        fetch_tiny(server, tmp_path)
    assert len(server.requests) == 1


def test_a_redirect_from_https_to_http_is_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def https_open(self: object, request: urllib.request.Request) -> addinfourl:
        headers = HTTPMessage()
        headers["Location"] = f"{server.url}/{TINY.file}?signature=secret"
        response = addinfourl(io.BytesIO(), headers, request.full_url, 302)
        response.msg = "Found"  # type: ignore[attr-defined]
        return response

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", https_open)
    with pytest.raises(WeightsError, match=r"https://host\.test/tiny_release\.pth: it redirects to http://") as caught:
        download(card_at("https://host.test"), folder=tmp_path, retry_policy=QUICK)
    assert "secret" not in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("states_its_size", [True, False])
@pytest.mark.parametrize("is_size_known", [True, False])
def test_a_body_beyond_the_size_of_the_file_is_not_stored(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states_its_size: bool, is_size_known: bool
) -> None:
    limit = len(RELEASE) - 1
    monkeypatch.setattr(http, "_MAX_FILE_BYTES", limit)
    server.faults = [] if states_its_size else [chunked(50, whole=True)]
    with pytest.raises(WeightsError, match=f"expected (at most )?{limit}|more than {limit} bytes"):
        fetch_tiny(server, tmp_path, bytes=limit if is_size_known else None)
    assert len(server.requests) == 1
    assert not any(name.endswith(".part") for name in names_in(tmp_path))
