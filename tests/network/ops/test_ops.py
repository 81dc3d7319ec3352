"""Every operation against its reference: shapes, dtypes, recorded gradients; and the network under both."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from tests.network.test_network import KINDS, clip_for, small
from vrt_core.network import ops
from vrt_core.network.ops import chunking
from vrt_core.network.ops.attention import attention_reference
from vrt_core.network.ops.conv_pair import fused_conv_pair_reference
from vrt_core.network.ops.deform_conv import deform_conv_reference
from vrt_core.network.ops.linear import linear_reference
from vrt_core.network.ops.windows import map_windows_reference

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
MODES = {"inference": torch.inference_mode, "no_grad": torch.no_grad, "learning": nullcontext}


@pytest.fixture(params=MODES)
def mode(request):
    """Grad modes: fast paths run in the first two, and in the last one where they have a backward pass."""
    torch.manual_seed(0)
    with MODES[request.param]():
        yield request.param


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process so little at a time that every operation needs several chunks."""
    monkeypatch.setattr(chunking, "budget_bytes", lambda device: 1 << 13)


def check(result: Tensor, expected: Tensor, dtype: torch.dtype = torch.float32) -> None:
    tolerance = 1e-4 if dtype == torch.float32 else 4e-2
    assert result.dtype == expected.dtype == dtype
    assert_close(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 20), (33, 20), (1, 20), (0, 20), (2, 3, 4, 20)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear(shape, dtype, has_bias, mode):
    x, weight, bias = torch.randn(shape, dtype=dtype), torch.randn(30, 20, dtype=dtype), torch.randn(30, dtype=dtype)
    arguments = x, weight, bias if has_bias else None
    check(ops.linear(*arguments), linear_reference(*arguments), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("B", "heads", "L", "d"), [(5, 6, 32, 20), (1, 1, 96, 16), (3, 2, 7, 5)])
@pytest.mark.parametrize("biased", ["each window", "each head", "all heads", None])
def test_attention(B, heads, L, d, biased, dtype, mode):
    q, k, v = torch.randn(3, B, heads, L, d, dtype=dtype)
    shapes = {"each window": (B, heads), "each head": (1, heads), "all heads": ()}
    bias = torch.randn(*shapes[biased], L, L, dtype=dtype) if biased else None
    check(ops.attention(q, k, v, bias, 0.3), attention_reference(q, k, v, bias, 0.3), dtype)


def test_attention_takes_biases_in_another_dtype(mode):
    q, k, v = torch.randn(3, 2, 2, 16, 8, dtype=torch.bfloat16)
    bias = torch.randn(16, 16)
    check(ops.attention(q, k, v, bias, 0.3), ops.attention(q, k, v, bias.bfloat16(), 0.3), torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("C", "heads"), [(12, 2), (20, 4), (32, 2), (40, 2)])  # heads of 6, 5, 16 and 20 channels
def test_heads_are_split_and_merged(C, heads, dtype, mode):
    qkv, proj = nn.Linear(C, 3 * C, dtype=dtype), nn.Linear(C, C, dtype=dtype)
    x = torch.randn(3, 8, C, dtype=dtype)

    def attend() -> Tensor:
        q, k, v = ops.split_heads(x, qkv, heads)
        out = ops.window_attention(q, k, v, [(2, None), (1, torch.randn(8, 8).to(dtype))], 0.3)
        return ops.merge_heads(out, proj, C // heads)

    torch.manual_seed(1)
    result = attend()
    torch.manual_seed(1)
    with ops.reference():
        check(result, attend(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("B", "C_in", "C_out", "G", "groups"), [(2, 4, 4, 2, 1), (1, 8, 4, 4, 2), (3, 6, 2, 6, 1)])
@pytest.mark.parametrize("size", [(1, 1), (9, 7), (30, 16)])
def test_deform_conv(B, C_in, C_out, G, groups, size, dtype, mode, small_chunks):
    x, raw = torch.randn(B, C_in, *size, dtype=dtype), torch.randn(B, G * 27, *size, dtype=dtype)
    weight, bias = torch.randn(C_out, C_in // groups, 3, 3, dtype=dtype), torch.randn(C_out, dtype=dtype)
    base = torch.arange(size[0])[:, None] / 10  # offsets depend on the row

    def offsets_and_mask(raw: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        return 2 * raw[:, : G * 18] + base[rows].to(dtype), raw[:, G * 18 :].sigmoid()

    result = ops.deform_conv(x, raw, offsets_and_mask, weight, bias, groups)
    expected = deform_conv_reference(x, *offsets_and_mask(raw, slice(None)), weight, bias, groups)
    assert (result - expected).norm() / expected.norm() < (1e-5 if dtype == torch.float32 else 2e-2)
    assert result.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (9, 12)])
def test_fused_conv_pair(size, dtype, mode):
    first = torch.randn(8, 6, 3, 3, dtype=dtype) / 7, torch.randn(8, dtype=dtype)
    second = torch.randn(3, 8, 3, 3, dtype=dtype) / 8, torch.randn(3, dtype=dtype)
    x = torch.randn(2, 6, *size, dtype=dtype)
    check(ops.fused_conv_pair(x, first, second), fused_conv_pair_reference(x, first, second), dtype)


def mix_windows(x: Tensor, window: ops.WindowBatch) -> Tensor:
    """A block that uses all that it is told about its windows: biases, masks, valid tokens, position encoding."""
    y = window.zero_padding(x.clone())
    counts = [group.num_windows for group in window.bias_groups]
    assert sum(counts) == len(x)
    parts = zip(y.split(counts), window.bias_groups, strict=True)
    y = torch.cat([group.position_bias.mean(dim=1).to(y.dtype).softmax(dim=-1) @ part for part, group in parts])
    if window.position_encoding is not None:
        frames = (y.unflatten(1, (2, -1)) + window.position_encoding).flatten(0, 1)  # (2B, L/2, C)
        masks = [
            torch.zeros(1) if g.frame_mask is None else g.frame_mask.expand(2 * g.num_windows, 1, -1, -1)[:, 0]
            for g in window.bias_groups
        ]
        parts = zip(frames.split([2 * count for count in counts]), masks, strict=True)
        frames = torch.cat([part + mask.to(part.dtype).mean(dim=-1, keepdim=True) / 100 for part, mask in parts])
        y = frames.unflatten(0, (-1, 2)).flatten(1, 2)  # (B, L, C)
    return x + y


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("window", [(2, 4, 4), (3, 2, 5), (1, 4, 4)])
@pytest.mark.parametrize("size", [(1, 2, 8, 8), (2, 7, 9, 10), (1, 5, 3, 4), (1, 4, 13, 5)])
def test_map_windows(size, window, dtype, mode, small_chunks):
    x = torch.randn(*size, 6, dtype=dtype)
    table = torch.randn((2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1), 2, dtype=dtype)
    is_pair = window[0] == 2 and size[1] >= 2 and size[2] >= 4 and size[3] >= 4
    encoding = torch.randn(window[1] * window[2], 6, dtype=dtype) if is_pair else None

    def position_bias(index: Tensor) -> Tensor:
        return F.embedding(index, table).permute(2, 0, 1)[None]

    before = x.clone()
    features, expected = ops.FeatureMap(x), x
    for shifted in (False, True, False, True):
        ops.map_windows(
            mix_windows,
            features,
            window,
            shifted=shifted,
            position_bias=position_bias,
            position_encoding=encoding,
        )
        expected = map_windows_reference(mix_windows, expected, window, shifted, position_bias, encoding)
    assert torch.equal(x, before)
    check(features.x, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add_", "mul_"])
def test_sums_and_products_in_place(name, dtype, mode):
    x, y = torch.randn(2, 5, 3, dtype=dtype)
    expected = x + y if name == "add_" else x * y
    before = x.clone()
    result = getattr(ops, name)(x, y)
    assert torch.equal(result, expected)
    assert (result is x) == (mode != "learning")
    if mode == "learning":
        assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(5, 40, 48), (2, 33, 37)])
def test_the_network_gives_the_same_by_references(kind, size, dtype):
    network = small(kind)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(2)
    network = network.to_precision(dtype)
    clip = clip_for(network, *size)
    with torch.inference_mode():
        if dtype != torch.float32:
            clip = network.append_prior(clip)  # without group filter, which is float32 and may choose other patches
        expected = network(clip)
        with ops.reference():
            result = network(clip)
    assert (result - expected).norm() / (expected - expected.mean()).norm() < (1e-4 if dtype == torch.float32 else 2e-2)


def test_reference_is_forced_in_one_thread_only():
    answers = []
    with torch.inference_mode(), ops.reference():
        assert ops.use_reference()
        assert ops.use_reference(differentiable=True)
        thread = threading.Thread(target=lambda: answers.append(torch.no_grad()(ops.use_reference)()))
        thread.start()
        thread.join()
        with ops.reference():
            pass
        assert ops.use_reference()
    assert answers == [False]
    with torch.inference_mode():
        assert not ops.use_reference()
    assert ops.use_reference()
    assert not ops.use_reference(differentiable=True)
