"""Starts a real ComfyUI on a free port, with this checkout as its only custom node and folders of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

REPO = Path(__file__).parents[2]
PACK = "ComfyUI-VRT-under-test"
"""Folder of the pack. With a dot in it, the front end looks for help pages in the wrong place."""

START_SECONDS = 400
PROMPT_SECONDS = 300

Prompt = dict[str, dict[str, Any]]


class Saved(TypedDict):
    """A file that a node has shown or saved."""

    filename: str
    subfolder: str
    type: str


def find_comfyui() -> Path | str:
    """Return the folder of a ComfyUI, or why there is none."""
    folder = Path(os.environ.get("COMFYUI_DIR") or Path.home() / "comfy/ComfyUI").expanduser()
    if not (folder / "main.py").is_file():
        return f"no ComfyUI in {folder}; set COMFYUI_DIR to one (and COMFYUI_PYTHON to its Python)"
    return folder


def find_python(comfyui: Path) -> str:
    """Return the Python that runs it: COMFYUI_PYTHON, else that of an environment in or beside it, else ours."""
    if given := os.environ.get("COMFYUI_PYTHON"):
        return given
    tails = ("bin/python", "Scripts/python.exe")
    places = [
        place / tail for place in (comfyui / "venv", comfyui / ".venv", comfyui.parent / "venv") for tail in tails
    ]
    return next((str(place) for place in places if place.is_file()), sys.executable)


class PromptError(Exception):
    """A prompt that was refused, failed or was interrupted, with the message for the user."""


@dataclass(frozen=True)
class Run:
    """A finished prompt."""

    outputs: Mapping[str, Mapping[str, Any]]
    """Results that each node has shown, by its id in the prompt."""

    cached: frozenset[str]
    """Ids of the nodes that did not run again."""


_NODE_FAILED = re.compile(r"!!! Exception during processing !!!.*?(?:Prompt executed in|\Z)", re.DOTALL)
_COMPLAINT = re.compile(r"Traceback|IMPORT FAILED|memory leak")


def complaints_in(log: str) -> list[str]:
    """Return the lines of a log that report faults, except errors of nodes, which users are shown."""
    return [line for line in _NODE_FAILED.sub("", log).splitlines() if _COMPLAINT.search(line)]


class Server:
    """Client of a running ComfyUI."""

    start_log = ""
    """Log of the start, before the first request."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, base: Path, log: Path) -> None:
        self.process, self.url, self.base, self._log = process, f"http://127.0.0.1:{port}", base, log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def request(self, path: str, body: Any = None) -> bytes:
        """Fetch a path; POST if there is a body, as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        return json.loads(self.request(path))

    def view(self, saved: Saved) -> bytes:
        """Fetch a file that a node has shown."""
        keys = ("filename", "subfolder", "type")
        return self.request("/view?" + urllib.parse.urlencode({key: saved[key] for key in keys}))

    def path_of(self, saved: Saved) -> Path:
        """Return the path of such a file."""
        return self.base / saved["type"] / saved["subfolder"] / saved["filename"]

    def queue(self, prompt: Prompt) -> str:
        """Queue a prompt and return its id.

        Raises:
            PromptError: If it was refused.
        """
        try:
            answer = self.request("/prompt", {"prompt": prompt, "client_id": "tests"})
        except urllib.error.HTTPError as error:
            refusal = json.loads(error.read())
            faults = [e for node in refusal.get("node_errors", {}).values() for e in node["errors"]]
            lines = [f"{fault['message']}: {fault['details']}" for fault in faults or [refusal["error"]]]
            raise PromptError("\n".join(lines)) from None
        return json.loads(answer)["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = PROMPT_SECONDS) -> Run:
        """Wait for a prompt to end.

        Raises:
            PromptError: If it did not succeed.
        """
        give_up = time.monotonic() + seconds
        while not (entry := self.get(f"/history/{prompt_id}").get(prompt_id)):
            assert self.process.poll() is None, f"ComfyUI has ended:\n{self.log[-3000:]}"
            assert time.monotonic() < give_up, f"not done after {seconds} s:\n{self.log[-3000:]}"
            time.sleep(0.1)
        messages = dict(entry["status"]["messages"])
        if entry["status"]["status_str"] != "success":
            raise PromptError(messages.get("execution_error", {}).get("exception_message", "interrupted"))
        return Run(entry["outputs"], frozenset(messages.get("execution_cached", {}).get("nodes", ())))

    def run(self, prompt: Prompt, seconds: float = PROMPT_SECONDS) -> Run:
        """Queue a prompt and wait for it.

        Raises:
            PromptError: If it was refused or did not succeed.
        """
        return self.wait(self.queue(prompt), seconds)


@contextmanager
def serving(comfyui: Path, base: Path, *, pack: Path | None = None) -> Iterator[Server]:
    """Run a server while the context is open.

    Args:
        comfyui: Folder of ComfyUI.
        base: Folder for its custom_nodes, models, input, output and temp; created if missing.
        pack: What custom_nodes gets a link to, under the name ``PACK``; None leaves it as it is.
    """
    for name in ("custom_nodes", "models/vrt", "input", "output", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)
    if pack:
        (base / "custom_nodes" / PACK).symlink_to(pack, target_is_directory=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = base / "server.log"
    command = [find_python(comfyui), "main.py", "--cpu", "--disable-api-nodes"]
    command += [
        "--port",
        str(port),
        "--base-directory",
        str(base),
        "--database-url",
        f"sqlite:///{base}/user/comfyui.db",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["OMP_NUM_THREADS"] = "1"  # as the tests have, for the same bits; and waiting threads spin
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=comfyui, stdout=out, stderr=subprocess.STDOUT, env=environment)
    server = Server(process, port, base, log)
    try:
        give_up = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, f"ComfyUI did not start:\n{server.log[-3000:]}"
            assert time.monotonic() < give_up, f"ComfyUI did not answer:\n{server.log[-3000:]}"
            try:
                server.get("/system_stats")
                break
            except OSError:
                time.sleep(0.2)
        server.start_log = server.log
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
