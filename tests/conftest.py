"""What all tests share: skips become failures where the thing they wait for must be there."""

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
def three_threads() -> Iterator[None]:
    """Let torch compute with three threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
