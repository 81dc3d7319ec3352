"""Fixtures and marks that all tests share."""

import os
from collections.abc import Iterator

import pytest
import torch


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `gpu` on machines without CUDA, unless VRT_REQUIRE_GPU=1 says there must be one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        if os.environ.get("VRT_REQUIRE_GPU") == "1":
            pytest.fail("VRT_REQUIRE_GPU=1, but torch sees no CUDA device")
        pytest.skip("no CUDA device")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute with one thread, here and in processes that the test starts.

    For tests that compare frames of two processes or threads bit for bit: the last bit of a matrix product depends on
    the number of threads, and ``torch.set_num_threads`` changes that number for all threads of a process.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Let torch compute with three threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
