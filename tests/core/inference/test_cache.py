"""The cache stays within its bound, drops what was used least recently, and counts."""

import logging

import pytest
import torch

from vrt_core.inference.cache import Cache, cached


def test_least_recently_used_goes_first() -> None:
    cache = Cache(max_bytes=3 * 40)
    made: list[int] = []

    def use(n: int) -> torch.Tensor:
        return cache.get(n, lambda: made.append(n) or torch.full((10,), float(n)))

    for n in (0, 1, 2, 0, 3, 0, 1):
        assert use(n)[0] == n
        assert cache.num_bytes <= cache.max_bytes
    assert made == [0, 1, 2, 3, 1]
    assert (cache.hits, cache.misses) == (2, 5)
    cache.clear()
    assert cache.num_bytes == 0
    use(0)
    assert made[-1] == 0


def test_scopes_keep_keys_apart_and_share_the_bound() -> None:
    cache = Cache(max_bytes=100)
    head, tail = cache.scope("head"), cache.scope("tail").scope("head")
    assert head.get("x", lambda: torch.zeros(10))[0] == 0
    assert tail.get("x", lambda: torch.ones(10))[0] == 1
    assert head.get("x", lambda: torch.ones(10))[0] == 0
    assert cache.num_bytes == 80
    assert cache.hits == 1


def test_what_is_larger_than_the_cache_is_handed_on_and_told(caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(max_bytes=100)
    with caplog.at_level(logging.WARNING):
        value = cache.get("x", lambda: [torch.zeros(100), (torch.zeros(100),)])
    assert len(value) == 2
    assert cache.num_bytes == 0
    assert "max_bytes=3200" in caplog.text


def test_no_cache_makes_anew() -> None:
    assert cached(None, "x", lambda: 1) == 1
