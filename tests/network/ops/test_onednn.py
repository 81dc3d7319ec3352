"""Matrix products by oneDNN are exact, and torch's setting is restored."""

import importlib
import threading

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from tests.network.test_network import KINDS, clip_for, small
from vrt_core import estimate_sigma
from vrt_core.network.ops import attention, onednn
from vrt_core.network.ops.onednn import onednn_matmul, prefer_onednn

pytestmark = pytest.mark.skipif(
    not onednn._onednn_is_exact(), reason="oneDNN rounds on this processor, or torch cannot be told to use it"
)
SOME = torch.zeros(1)


def setting() -> str:
    return onednn._setting().fp32_precision


@pytest.mark.parametrize(
    ("windows", "heads", "length", "size"), [(5, 6, 128, 20), (3, 2, 384, 32), (1, 1, 64, 4), (40, 6, 64, 20)]
)
@pytest.mark.parametrize("biased", ["each window", "each head", "all heads", None])
def test_attention_written_out_is_attention(windows, heads, length, size, biased, monkeypatch):
    module = importlib.import_module("vrt_core.network.ops.attention")  # the package has the function by this name
    monkeypatch.setattr(module, "_SCORES_BYTES", 2 * 4 * heads * length**2)  # two windows at a time
    monkeypatch.setattr(F, "scaled_dot_product_attention", None)
    torch.manual_seed(0)
    q, k, v = (x.transpose(1, 2) for x in torch.randn(3, windows, length, heads, size))
    shapes = {"each window": (windows, heads), "each head": (1, heads), "all heads": ()}
    bias = torch.randn(*shapes[biased], length, length) if biased else None
    scores = 0.3 * q.double() @ k.double().transpose(2, 3)
    if bias is not None:
        bias *= 100  # far beyond what exp can take
        scores += bias
    before = [x.clone() for x in (q, k, v)]
    with torch.inference_mode(), onednn_matmul(q):
        assert_close(attention(q, k, v, bias, 0.3), (scores.softmax(3) @ v.double()).float(), rtol=1e-4, atol=1e-4)
    assert all(map(torch.equal, (q, k, v), before))


def test_products_are_exact():
    torch.manual_seed(0)
    a, b = torch.randn(3, 128, 20), torch.randn(3, 20, 128)
    with torch.inference_mode(), onednn_matmul(a):
        assert setting() == "bf16"
        assert_close(a @ b, (a.double() @ b.double()).float(), rtol=1e-6, atol=3e-6)


@torch.inference_mode()
def test_the_setting_ends_with_the_last_user():
    before = setting()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with torch.inference_mode(), onednn_matmul(SOME):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with onednn_matmul(SOME):
        thread.start()
        assert entered.wait(10)
        assert setting() == "bf16"
    assert setting() == "bf16"
    leave.set()
    thread.join()
    assert setting() == before
    with pytest.raises(KeyError), onednn_matmul(SOME):
        raise KeyError
    assert setting() == before


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_pass_does_not_depend_on_other_threads(kind):
    network = small(kind)
    clip = clip_for(network, 4, 40, 40)  # 100 tokens at 1/8: their linear layers go the way of products
    within = []
    alone = network(clip, on_block=lambda: within.append(setting()))
    assert set(within) == {"bf16"}
    with onednn_matmul(SOME):  # as another thread might have it
        assert torch.equal(network(clip), alone)
        assert setting() == "bf16"


@torch.inference_mode()
def test_flows_and_sigma_do_not_depend_on_other_threads():
    network = small("deblur")
    pair, noisy = torch.rand(2, 3, 32, 32), 0.5 + 0.05 * torch.randn(4, 3, 96, 128)
    within = []
    network.spynet.register_forward_hook(lambda *_: within.append(setting()))
    flows, sigma = network.flows(pair, pair.flip(0)), estimate_sigma(noisy)
    assert within == ["bf16"]
    with onednn_matmul(SOME):
        assert all(map(torch.equal, network.flows(pair, pair.flip(0)), flows))
        assert estimate_sigma(noisy) == sigma


@torch.inference_mode()
def test_it_is_left_alone_where_it_rounds(monkeypatch):
    monkeypatch.setattr(onednn, "_onednn_is_exact", lambda: False)
    with onednn_matmul(SOME):
        assert setting() != "bf16"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rounding_is_seen_whatever_the_default_dtype(dtype, monkeypatch):
    monkeypatch.setattr(torch, "bmm", lambda a, b: (a.bfloat16() @ b.bfloat16()).to(a.dtype))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert not onednn._measure_exactness.__wrapped__()
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("case", ["gradients", "half precision", "another device"])
def test_only_for_float32_on_a_cpu_without_gradients(case):
    device = "meta" if case == "another device" else "cpu"
    x = torch.zeros(1, device=device, dtype=torch.bfloat16 if case == "half precision" else torch.float32)
    with torch.set_grad_enabled(case == "gradients"):
        assert not prefer_onednn(x)
        with onednn_matmul(x):
            assert setting() != "bf16"
    with torch.inference_mode():
        assert prefer_onednn(SOME)
