"""LRU cache of intermediate results that neighbouring windows share: flows, and restored windows of a chain."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor

from .blending import WeightedFrame

_log = logging.getLogger(__name__)
_V = TypeVar("_V")

DEFAULT_CACHE_BYTES = 1 << 30


class Cache:
    """Results for one clip, bounded in bytes; the least recently used are evicted first. Threads may share it.

    Keys name what a result was computed from (frame numbers, windows, sizes), never the order of calls. One restorer
    fills a cache.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        """Bytes of all cached results."""
        self.hits = 0
        """Look-ups that were answered from the cache."""
        self.misses = 0
        """Look-ups that were computed."""
        self._entries: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], _V]) -> _V:
        """Return the result with this key, computed by ``compute`` if it is not cached."""
        with self._lock:
            if key in self._entries:
                self.hits += 1
                self._entries.move_to_end(key)
                return self._entries[key][1]
            self.misses += 1
        value = compute()
        self._put(key, value, _num_bytes(value))
        return value

    def clear(self) -> None:
        """Remove all results."""
        with self._lock:
            self._entries.clear()
            self.num_bytes = 0

    def _put(self, key: Hashable, value: object, size: int) -> None:
        with self._lock:
            if size > self.max_bytes:
                _log.warning(
                    "a result of %d MiB does not fit the cache of %d MiB and may be computed again; set max_bytes=%d",
                    size >> 20, self.max_bytes >> 20, 4 * size,
                )  # fmt: skip
                return
            self.num_bytes += size - self._entries.pop(key, (0, None))[0]
            self._entries[key] = size, value
            while self.num_bytes > self.max_bytes:
                self.num_bytes -= self._entries.popitem(last=False)[1][0]


def _num_bytes(value: object) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, WeightedFrame):
        return value.frame.nbytes
    return sum(map(_num_bytes, value)) if isinstance(value, (tuple, list)) else 0
