"""Downloads are verified, converted, recorded, and not repeated."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.helpers.weights import (
    QUICK,
    TINY,
    TINY_CONFIG,
    FileServer,
    answer,
    assert_is_tiny,
    card_at,
    fetch_tiny,
    names_in,
    release,
    serving,
    slow,
    tiny_state,
)
from vrt_core.errors import InputError, WeightsError
from vrt_core.models import checkpoint, files
from vrt_core.models import download as download_module
from vrt_core.models.cards import MODELS, ModelCard
from vrt_core.models.checkpoint import read_checkpoint, save_weights
from vrt_core.models.digests import file_sha256, find_record
from vrt_core.models.download import download
from vrt_core.models.store import find_weights, load_network, load_weights

RELEASE = release()
RELEASE_SHA256 = hashlib.sha256(RELEASE).hexdigest()
HALF = len(RELEASE) // 2

pytestmark = pytest.mark.usefixtures("own_models_dir")

# --- success ---


def test_download_converts_records_and_cleans_up(server: FileServer, tmp_path: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    path = download(card_at(server.url), folder=tmp_path, on_bytes=lambda done, total: reports.append((done, total)))
    assert path == tmp_path / "tiny.safetensors"
    assert_is_tiny(path)
    assert read_checkpoint(path).metadata == {"model": "tiny", "source_sha256": RELEASE_SHA256}
    with safetensors.safe_open(path, framework="pt") as stored:
        assert set(stored.keys()) == set(tiny_state())
    assert names_in(tmp_path) == ["checksums.json", "tiny.safetensors"]
    original = find_record(tmp_path, TINY.file)
    assert original == {"sha256": RELEASE_SHA256, "bytes": len(RELEASE), "from": f"{server.url}/{TINY.file}"}
    converted = find_record(tmp_path, path.name)
    assert converted is not None
    assert converted["sha256"] == file_sha256(path)
    assert reports[0] == (0, len(RELEASE))
    assert reports[-1] == (len(RELEASE), len(RELEASE))
    assert reports == sorted(reports)
    assert load_network(TINY, folder=tmp_path).state_dict().keys() == tiny_state().keys()


def test_the_models_folder_is_the_default_and_nothing_is_fetched_twice(server: FileServer, tmp_path: Path) -> None:
    card = card_at(server.url)
    path = download(card, retry_policy=QUICK)
    assert path == find_weights(card) == tmp_path / "models/tiny.safetensors"
    assert download(card, retry_policy=QUICK) == path
    assert len(server.requests) == 1


def test_an_existing_damaged_file_is_replaced(server: FileServer, tmp_path: Path) -> None:
    path = fetch_tiny(server, tmp_path)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(WeightsError, match="damaged or was changed"):
        load_weights(TINY, path)
    assert_is_tiny(fetch_tiny(server, tmp_path))
    assert len(server.requests) == 2


def test_a_release_copied_by_hand_is_not_fetched(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / TINY.file).write_bytes(RELEASE)
    assert fetch_tiny(server, tmp_path) == tmp_path / TINY.file
    assert server.requests == []


def test_safetensors_are_kept_byte_for_byte(tmp_path: Path) -> None:
    released = tmp_path / "released.safetensors"
    save_weights(released, tiny_state(), dtype=torch.float16)
    with serving(released.read_bytes()) as server:
        card = replace(
            card_at(server.url),
            file="t.safetensors",
            sha256=file_sha256(released),
            bytes=released.stat().st_size,
        )
        path = download(card, folder=tmp_path / "models", retry_policy=QUICK)
    assert path.name == "t.safetensors"
    assert path.read_bytes() == released.read_bytes()


# --- wrong content ---


def test_a_web_page_is_refused_before_it_is_read(server: FileServer, tmp_path: Path) -> None:
    server.faults = [answer(200, b"<html>Please log in</html>", "text/html; charset=utf-8")]
    with pytest.raises(WeightsError, match=rf"{TINY.file} is a web page, not a weights file"):
        fetch_tiny(server, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<!doctype html><title>Error</title>", "is a web page"),
        (b"", "is empty"),
        (b"garbage" * 1000, "neither safetensors nor a PyTorch checkpoint"),
        (RELEASE[:HALF], "damaged or cut off"),
    ],
)
def test_garbage_is_refused_and_deleted(server: FileServer, tmp_path: Path, body: bytes, message: str) -> None:
    server.faults = [answer(200, body)]
    with pytest.raises(WeightsError) as caught:
        fetch_tiny(server, tmp_path)
    assert message in str(caught.value)
    assert f"{server.url}/{TINY.file}" in str(caught.value)
    assert ".part" not in str(caught.value)
    assert names_in(tmp_path) == []
    assert_is_tiny(fetch_tiny(server, tmp_path))


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    state = tiny_state()
    state["conv_first.bias"] = torch.zeros(9)
    torch.save(state, buffer)
    with serving(buffer.getvalue()) as server:
        with pytest.raises(WeightsError, match=r"does not fit tiny.*conv_first\.bias \(9,\) instead of \(8,\)"):
            fetch_tiny(server, tmp_path)
        assert names_in(tmp_path) == []


def test_a_published_digest_is_verified_before_parsing(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "read_tensors", lambda *_: pytest.fail("parsed before it was verified"))
    with pytest.raises(WeightsError, match=r"is not the published tiny_release\.pth: its sha256"):
        fetch_tiny(server, tmp_path, sha256="0" * 64)
    assert names_in(tmp_path) == []


def test_a_published_size_is_compared_before_fetching(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"has {len(RELEASE)} bytes, expected 5770711"):
        fetch_tiny(server, tmp_path, bytes=5_770_711)
    assert names_in(tmp_path) == []


def test_later_downloads_must_equal_the_first(server: FileServer, tmp_path: Path) -> None:
    fetch_tiny(server, tmp_path).unlink()
    server.content, server.etag = release(seed=1), '"two"'
    with pytest.raises(WeightsError, match=r"not the tiny_release\.pth that was downloaded first") as caught:
        fetch_tiny(server, tmp_path)
    assert f"delete the entry 'tiny_release.pth' in {tmp_path / 'checksums.json'}" in str(caught.value)
    assert names_in(tmp_path) == ["checksums.json"]
    record = json.loads((tmp_path / "checksums.json").read_text())
    del record[TINY.file]
    (tmp_path / "checksums.json").write_text(json.dumps(record))
    assert_is_tiny(fetch_tiny(server, tmp_path), seed=1)


def test_a_conversion_made_again_has_the_same_digest(server: FileServer, tmp_path: Path) -> None:
    first = fetch_tiny(server, tmp_path / "a")
    second = download(TINY, folder=tmp_path / "b", source=first.parent, retry_policy=QUICK)
    third = fetch_tiny(server, tmp_path / "c")
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


# --- mirrors and local folders ---


@pytest.mark.parametrize("tail", ["", "/", f"/{TINY.file}", "/get?name=x", "/deep/er/"])
def test_mirrors_by_folder_or_by_file(server: FileServer, tmp_path: Path, tail: str) -> None:
    path = download(TINY, folder=tmp_path, source=server.url + tail, retry_policy=QUICK)
    assert_is_tiny(path)
    expected_path = {"/get?name=x": tail, "/deep/er/": f"/deep/er/{TINY.file}"}.get(tail, f"/{TINY.file}")
    assert server.requests[0]["path"] == expected_path


def test_secrets_in_an_address_are_neither_recorded_nor_shown(server: FileServer, tmp_path: Path) -> None:
    download(TINY, folder=tmp_path, source=f"{server.url}/a.pth?token=SECRET", retry_policy=QUICK)
    server.faults = [answer(403)]
    with pytest.raises(WeightsError) as caught:
        download(TINY, folder=tmp_path / "b", source=f"{server.url}/a.pth?token=SECRET", retry_policy=QUICK)
    assert "SECRET" not in str(caught.value)
    assert all("SECRET" not in path.read_text(errors="ignore") for path in tmp_path.rglob("*.json"))


@pytest.mark.parametrize("how", ["file", "folder", "url", "converted folder"])
def test_local_sources(tmp_path: Path, how: str) -> None:
    shelf = tmp_path / "shelf of mine"
    shelf.mkdir()
    (shelf / TINY.file).write_bytes(RELEASE)
    sources = {"file": shelf / TINY.file, "folder": str(shelf), "url": (shelf / TINY.file).as_uri()}
    if how == "converted folder":
        (shelf / TINY.file).unlink()
        save_weights(shelf / "tiny.safetensors", tiny_state())
    path = download(TINY, folder=tmp_path / "models", source=sources.get(how, shelf))
    assert_is_tiny(path)
    assert names_in(tmp_path / "models") == ["checksums.json", "tiny.safetensors"]
    assert len(names_in(shelf)) == 1


def test_a_local_source_is_verified_too(tmp_path: Path) -> None:
    (tmp_path / TINY.file).write_bytes(RELEASE)
    with pytest.raises(WeightsError, match="is not the published"):
        download(replace(TINY, sha256="0" * 64), folder=tmp_path / "models", source=tmp_path)
    assert (tmp_path / TINY.file).read_bytes() == RELEASE
    assert names_in(tmp_path / "models") == []


def test_a_conversion_of_another_release_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "tiny.safetensors", tiny_state(), metadata={"source_sha256": "1" * 64})
    with pytest.raises(WeightsError, match="is no conversion of the published"):
        download(replace(TINY, sha256="0" * 64), folder=tmp_path / "models", source=tmp_path)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("ftp://example.org/a.pth", InputError, "must be an http or https address"),
        ("/no/such/folder", WeightsError, r"neither a file nor a folder that holds tiny_release\.pth or tiny\."),
        ("http://", WeightsError, "could not fetch"),
        ("http://[bad/", InputError, "not a valid address"),
    ],
)
def test_invalid_sources_are_refused(tmp_path: Path, source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        download(TINY, folder=tmp_path, source=source, retry_policy=QUICK)


def test_chains_and_shipped_models_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"chain: download 003_VRT.* and 009_VRT"):
        download(MODELS["010_VRT_videostsr"])
    with pytest.raises(WeightsError, match="no address is known"):
        download(TINY)
    monkeypatch.setattr(download_module, "shipped_dir", lambda: tmp_path)
    card = replace(TINY, file="tiny.safetensors", shipped=True)
    with pytest.raises(WeightsError, match="reinstall the project"):
        download(card)
    save_weights(tmp_path / "tiny.safetensors", tiny_state())
    assert download(card) == tmp_path / "tiny.safetensors"
    assert_is_tiny(download(card, folder=tmp_path / "copy"))


# --- disks ---


def test_a_full_disk_is_named(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(WeightsError, match=r"no space left in .*free some, or choose another folder"):
            fetch_tiny(server, tmp_path)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", full)
        with pytest.raises(WeightsError, match="No space left on device"):
            fetch_tiny(server, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_while_fetching_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{TINY.file}.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"no space left for .*\.part"):
        fetch_tiny(server, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"cannot write .*file/models"):
        fetch_tiny(server, tmp_path / "file" / "models")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("vrt_core.models.files.FileLock.acquire", refuse)
    with pytest.raises(WeightsError, match=r"no permission to write .*choose another folder"):
        fetch_tiny(server, tmp_path)


# --- concurrent downloads ---


def test_concurrent_downloads_of_one_model_fetch_it_once(server: FileServer, tmp_path: Path) -> None:
    server.faults = [slow(10, 0.02)] * 4
    paths: list[Path] = []

    def one() -> None:
        paths.append(fetch_tiny(server, tmp_path))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "tiny.safetensors"] * 4
    assert len(server.requests) == 1
    assert_is_tiny(paths[0])
    assert names_in(tmp_path) == ["checksums.json", "tiny.safetensors"]


def test_downloads_of_different_models_share_one_record(server: FileServer, tmp_path: Path) -> None:
    cards = [replace(card_at(server.url), name=f"tiny{i}", file=f"t{i}.pth") for i in range(6)]
    threads = [threading.Thread(target=download, args=(card,), kwargs={"folder": tmp_path}) for card in cards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for card in cards:
        assert find_record(tmp_path, card.file) is not None
        assert_is_tiny(find_weights(card, tmp_path))


def test_a_component_downloads_like_a_model(tmp_path: Path) -> None:
    part = {k.removeprefix("spynet."): v for k, v in tiny_state().items() if k.startswith("spynet.")}
    buffer = io.BytesIO()
    torch.save({"params": {**part, "mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}}, buffer)
    with serving(buffer.getvalue()) as server:
        card = ModelCard(
            name="flow", task="flow", config=TINY_CONFIG, part="spynet.", file="f.pth", url=f"{server.url}/f.pth"
        )
        path = download(card, folder=tmp_path, retry_policy=QUICK)
    assert load_weights(card, path).keys() == part.keys()
