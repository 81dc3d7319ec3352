"""What a neighbouring window needs again, bounded in bytes: flows of frame pairs, and restored windows in a chain."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor

from .blending import Share

_log = logging.getLogger(__name__)
_V = TypeVar("_V")

DEFAULT_CACHE_BYTES = 1 << 30


class Cache:
    """Results of one clip, the least recently used dropped first. One restorer fills it; threads may share it.

    Results are found by what they are of (frame numbers, windows, sizes), never by the order of calls.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        """Bytes held now."""
        self.hits = 0
        """Results that were found."""
        self.misses = 0
        """Results that had to be computed."""
        self._entries: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], _V]) -> _V:
        """Return the result called ``key``, made by ``make`` unless it is held."""
        with self._lock:
            if key in self._entries:
                self.hits += 1
                self._entries.move_to_end(key)
                return self._entries[key][1]
            self.misses += 1
        value = make()
        self._put(key, value, _num_bytes(value))
        return value

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
            self.num_bytes = 0

    def scope(self, name: str) -> Scope:
        """Return a view of this cache for another restorer that works on the same clip; the bound is shared."""
        return Scope(self, name)

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


class Scope:
    """A cache seen by one restorer of a chain: its keys stay apart from those of the others."""

    def __init__(self, cache: Cache | Scope, name: str) -> None:
        self._cache, self._name = cache, name

    def get(self, key: Hashable, make: Callable[[], _V]) -> _V:
        """Like ``Cache.get``."""
        return self._cache.get((self._name, key), make)

    def scope(self, name: str) -> Scope:
        """Like ``Cache.scope``."""
        return Scope(self, name)


AnyCache = Cache | Scope | None
"""A cache, a part of one, or none."""


def cached(cache: AnyCache, key: Hashable, make: Callable[[], _V]) -> _V:
    """Return what ``make`` makes, from the cache if there is one and it holds it."""
    return make() if cache is None else cache.get(key, make)


def _num_bytes(value: object) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Share):
        return value.frame.nbytes
    return sum(map(_num_bytes, value)) if isinstance(value, (tuple, list)) else 0
