"""The cache stays within its bound, evicts the least recently used results, and counts hits and misses."""

import logging

import pytest
import torch

from vrt_core.inference.cache import Cache
from vrt_core.inference.progress import RunContext


def test_least_recently_used_goes_first() -> None:
    cache = Cache(max_bytes=3 * 40)
    computed: list[int] = []

    def use(n: int) -> torch.Tensor:
        return cache.get(n, lambda: computed.append(n) or torch.full((10,), float(n)))

    for n in (0, 1, 2, 0, 3, 0, 1):
        assert use(n)[0] == n
        assert cache.num_bytes <= cache.max_bytes
    assert computed == [0, 1, 2, 3, 1]
    assert (cache.hits, cache.misses) == (2, 5)
    cache.clear()
    assert cache.num_bytes == 0
    use(0)
    assert computed[-1] == 0


def test_prefixes_separate_keys_and_share_the_bound() -> None:
    cache = Cache(max_bytes=100)
    head, tail = RunContext(cache=cache, key_prefix=("head",)), RunContext(cache=cache, key_prefix=("tail", "head"))
    assert head.cached(("x",), lambda: torch.zeros(10))[0] == 0
    assert tail.cached(("x",), lambda: torch.ones(10))[0] == 1
    assert head.cached(("x",), lambda: torch.ones(10))[0] == 0
    assert cache.num_bytes == 80
    assert cache.hits == 1


def test_a_result_larger_than_the_cache_is_returned_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(max_bytes=100)
    with caplog.at_level(logging.WARNING):
        value = cache.get("x", lambda: [torch.zeros(100), (torch.zeros(100),)])
    assert len(value) == 2
    assert cache.num_bytes == 0
    assert "max_bytes=3200" in caplog.text


def test_without_a_cache_every_result_is_computed() -> None:
    assert [RunContext().cached(("x",), lambda n=n: n) for n in (1, 2)] == [1, 2]
