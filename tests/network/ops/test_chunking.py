"""Chunk sizes, and the memory planner: it counts what the network processes at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from vrt_core import build_network, estimate_memory, find_model
from vrt_core.network.ops import chunking


@pytest.fixture(autouse=True)
def default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


FORMULAS = ("window_token_bytes", "warped_frame_bytes", "deform_row_bytes", "enlarged_frame_bytes")


@given(count=st.integers(1, 500), max_size=st.integers(0, 500))
def test_even_chunks_cover_everything_once(count, max_size):
    chunks = chunking.even_chunks(count, max_size)
    assert [i for start, stop in chunks for i in range(start, stop)] == list(range(count))
    sizes = {stop - start for start, stop in chunks}
    assert max(sizes) <= max(max_size, 1)
    assert max(sizes) - min(sizes) <= 1


def test_a_chunk_fits_the_budget_unless_gradients_are_recorded():
    device = torch.device("cpu")
    parts = []

    def part(start: int, stop: int) -> torch.Tensor:
        parts.append(stop - start)
        return torch.arange(start, stop)

    item_bytes = chunking.budget_bytes(device) // 3
    for grad, expected in ((False, [3, 3, 1]), (True, [7])):
        parts.clear()
        with torch.set_grad_enabled(grad):
            assert torch.equal(chunking.map_chunks(part, 7, item_bytes, device, dim=0), torch.arange(7))
        assert parts == expected
    with torch.no_grad():
        assert chunking.chunk_size(1 << 40, device) == 1


@pytest.mark.parametrize(("model", "dtype"), [("002", torch.float32), ("005", torch.float16)])
def test_the_planner_counts_what_the_network_takes(model: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    """Bytes per item that the planner computes are those of a pass, by every formula that applies to the model."""
    calls: dict[str, set[int]] = {}

    def record(name: str) -> None:
        formula = getattr(chunking, name)

        def recorded(*arguments: Any) -> int:
            calls.setdefault(name, set()).add(formula(*arguments))
            return formula(*arguments)

        monkeypatch.setattr(chunking, name, recorded)

    for name in FORMULAS:
        record(name)
    config = dict(find_model(model).config)
    frames, height, width = 6, 96, 64
    estimate_memory(config, frames, height, width, dtype, device="cuda")
    planned, calls = calls, {}
    config["depths"] = [1] * len(config["depths"])  # more blocks have the same shapes
    with FakeTensorMode(), torch.device("cuda"), torch.inference_mode():
        torch.set_default_dtype(dtype)
        network = build_network(**config)
        torch.set_default_dtype(torch.float32)
        network(torch.zeros(1, frames, 3 + network.config.nonblind_denoising, height, width))
    assert set(planned) == set(calls) == set(FORMULAS) - (set() if network.config.upscale > 1 else {FORMULAS[-1]})
    for name, values in planned.items():
        assert values <= calls[name], name
