"""Linear layers as convolutions give what linear layers give."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from vrt_core.network.ops.linear import Linear, linear


@pytest.mark.parametrize("shape", [(64, 20), (33, 20), (1, 20), (0, 20), (2, 3, 4, 20), (1, 16, 20)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_is_a_matrix_product(shape, has_bias):
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(30, 20)
    bias = torch.randn(30) if has_bias else None
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double()).float()
    with torch.inference_mode():
        assert_close(linear(x, weight, bias), expected, rtol=1e-5, atol=1e-5)
        strided = x.new_zeros(*shape[:-1], 25)[..., :20].copy_(x)
        assert_close(linear(strided, weight, bias), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_learns(dtype):
    torch.manual_seed(0)
    layer = Linear(20, 30).to(dtype)
    x = torch.randn(32, 20, dtype=dtype)
    layer(x).sum().backward()
    assert_close(layer.weight.grad, x.sum(dim=0).expand(30, -1), rtol=2e-2, atol=2e-2)
    with torch.no_grad():
        assert_close(layer(x), F.linear(x, layer.weight, layer.bias), rtol=1e-2, atol=1e-2)
