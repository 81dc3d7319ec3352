"""A tiny model, its checkpoint in the layout of a release, and a local HTTP server with injectable faults."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import torch

from vrt_core.models.cards import ModelCard
from vrt_core.models.download import download
from vrt_core.models.http import RetryPolicy
from vrt_core.models.store import load_weights
from vrt_core.network import build_network

LAYOUTS = json.loads((Path(__file__).parents[1] / "golden/layouts.json").read_text())


def meta_state(name: str, *, buffers: bool) -> dict[str, torch.Tensor]:
    """State dict of an official model as released, on the meta device."""
    layout = LAYOUTS[name]
    shapes = {**layout["parameters"], **(layout["buffers"] if buffers else {})}
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


TINY_CONFIG: dict[str, Any] = {
    "upscale": 1,
    "img_size": [2, 16, 16],
    "window_size": [2, 4, 4],
    "depths": [1] * 8,
    "indep_reconsts": [],
    "embed_dims": [8] * 8,
    "num_heads": [1] * 8,
    "pa_frames": 2,
    "deformable_groups": 1,
    "flow_channels": [4, 4, 4, 4],
}
TINY = ModelCard(
    name="tiny", task="deblur", config=TINY_CONFIG, window_frames=2, file="tiny_release.pth", licence="CC0-1.0"
)
QUICK = RetryPolicy(timeout_seconds=0.4, retries=2, backoff_seconds=0.01)


def tiny_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """State dict of the tiny model with random numbers, without index buffers."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in _tiny_shapes().items()}


@cache
def _tiny_shapes() -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build_network(**TINY_CONFIG).named_parameters()}


def index_buffers() -> dict[str, torch.Tensor]:
    """Some of the index buffers that released files contain beside the parameters."""
    block = "stage1.residual_group1.blocks.0.attn"
    return {
        "spynet.mean": torch.zeros(1, 3, 1, 1),
        "spynet.std": torch.ones(1, 3, 1, 1),
        f"{block}.relative_position_index": torch.arange(16 * 16).reshape(16, 16),
        f"{block}.position_bias": torch.zeros(1, 16, 8),
    }


def release(seed: int = 0, key: str | None = "params") -> bytes:
    """A checkpoint as published: with index buffers, bare or under a key."""
    state = {**tiny_state(seed), **index_buffers()}
    buffer = io.BytesIO()
    torch.save({key: state} if key else state, buffer)
    return buffer.getvalue()


def card_at(url: str, **facts: Any) -> ModelCard:
    return replace(TINY, url=f"{url}/{TINY.file}", **facts)


class Handler(BaseHTTPRequestHandler):
    """Answers GET with the next of the server's faults, or with its content if no fault is left."""

    protocol_version = "HTTP/1.1"

    @property
    def files(self) -> FileServer:
        return cast(FileServer, self.server)

    def do_GET(self) -> None:
        server = self.files
        server.requests.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        fault = server.faults.pop(0) if server.faults else None
        self.close_connection = True
        (fault or Handler.send_whole)(self)

    def send_whole(self, cut_at: int | None = None, stall_seconds: float = 0.0) -> None:
        """Send the requested range; stop after ``cut_at`` bytes, or send nothing more for ``stall_seconds``."""
        server = self.files
        content, start = server.content, 0
        requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if requested and server.knows_ranges and self.headers.get("If-Range", server.etag) in (server.etag, None):
            start = int(requested[1])
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        self.wfile.write(body if cut_at is None else body[:cut_at])
        if stall_seconds:
            self.wfile.flush()
            server.released.wait(stall_seconds)

    def log_message(self, format: str, *args: object) -> None:
        pass


class FileServer(ThreadingHTTPServer):
    """Serves the same content under every path of 127.0.0.1."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.etag: str | None = '"one"'
        self.knows_ranges = True
        self.faults: list[Callable[[Handler], None]] = []
        self.requests: list[dict[str, str]] = []
        self.released = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore broken connections: the tests cause them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def cut(after: int) -> Callable[[Handler], None]:
    """Close the connection early."""
    return lambda handler: handler.send_whole(cut_at=after)


def stall(after: int) -> Callable[[Handler], None]:
    """Keep the connection open without sending the rest."""
    return lambda handler: handler.send_whole(cut_at=after, stall_seconds=3.0)


def answer(status: int, body: bytes = b"", kind: str = "text/plain") -> Callable[[Handler], None]:
    """Answer with a status and a body instead of the file."""

    def send(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def chunked(pieces: int, whole: bool) -> Callable[[Handler], None]:
    """Send the file in HTTP chunks, without Content-Length; all of it, or half of it without the last chunk."""

    def send(handler: Handler) -> None:
        content = handler.files.content
        handler.send_response(200)
        handler.send_header("ETag", handler.files.etag or "")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        step = -(-len(content) // pieces)
        for start in range(0, len(content) if whole else len(content) // 2, step):
            piece = content[start : start + step]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if whole:
            handler.wfile.write(b"0\r\n\r\n")

    return send


def slow(pieces: int, pause_seconds: float) -> Callable[[Handler], None]:
    """Send the whole file in pieces, with a pause after each."""

    def send(handler: Handler) -> None:
        content = handler.files.content
        handler.send_response(200)
        handler.send_header("ETag", handler.files.etag or "")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        step = -(-len(content) // pieces)
        for start in range(0, len(content), step):
            handler.wfile.write(content[start : start + step])
            handler.wfile.flush()
            time.sleep(pause_seconds)

    return send


def fetch_tiny(server: FileServer, folder: Path, *, retry_policy: RetryPolicy = QUICK, **facts: Any) -> Path:
    return download(card_at(server.url, **facts), folder=folder, retry_policy=retry_policy)


def assert_is_tiny(path: Path, seed: int = 0) -> None:
    expected = tiny_state(seed)
    loaded = load_weights(TINY, path)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def names_in(folder: Path) -> list[str]:
    """Names of the files in a folder, without lock files: whether these stay depends on the version of filelock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")
