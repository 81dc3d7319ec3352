"""Standard input as a file that a reader can stop to wait for."""

from __future__ import annotations

import os
import select
import threading

POLL_SECONDS = 0.1


class StandardInput:
    """Reads standard input; libav's own reads cannot be interrupted while nothing comes."""

    name = "pipe:0"

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._stopped = threading.Event()

    def read(self, size: int) -> bytes:
        """Return the bytes that are there, at least one; none at the end, or after `stop`."""
        while os.name == "posix" and not select.select([self._descriptor], [], [], POLL_SECONDS)[0]:
            if self._stopped.is_set():
                return b""
        return os.read(self._descriptor, size)

    def stop(self) -> None:
        """End a read that waits, and all later ones that would; any thread may call this."""
        self._stopped.set()
