"""Tests that compare frames of two processes or threads, bit for bit, give both the same number of threads.

The last bit of a matrix product follows from how many threads share it, and ``torch.set_num_threads``, once called in a
process, changes that for all of its threads.
"""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute with one thread, here and in processes started from here."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
