"""A network leaves as ONNX and gives the same there, and a pass is fit for a CUDA graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.core.test_real_network import CONFIGS
from vrt_core import InputError, build_network, export_onnx
from vrt_core.export import export_program


@pytest.mark.slow
@pytest.mark.parametrize("task", CONFIGS)
def test_onnx_file_gives_the_same(task: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = build_network(**CONFIGS[task])
    clip = torch.rand(1, 4, 3 + network.config.nonblind_denoising, 32, 40)
    path = export_onnx(network, tmp_path / "network.onnx", frames=4, height=32, width=40)
    session = runtime.InferenceSession(path)
    with torch.no_grad():
        expected = network(clip)
    assert_close(torch.from_numpy(session.run(None, {"clip": clip.numpy()})[0]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "frames", "height", "width", "words"),
    [
        ("denoise", 1, 32, 32, r"frames \(1\)"),
        ("interpolate", 6, 32, 32, r"frames \(6\) must be 4"),
        ("denoise", 4, 24, 32, r"height \(24\).*at least 32 px"),
        ("denoise", 4, 32, 36, r"width \(36 px\) must be a multiple of 8"),
    ],
)
def test_shapes_that_need_padding_are_refused(task: str, frames: int, height: int, width: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        export_program(build_network(**CONFIGS[task]), frames=frames, height=height, width=width)


class OnlyOn(TorchDispatchMode):
    """Refuses operations that make or copy anything elsewhere, which a CUDA graph could not record."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        elsewhere = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor) and x.device.type != "cuda"]
        assert not [x for x in elsewhere if x.ndim], f"{func} with {elsewhere}"
        return out


@pytest.mark.slow
@pytest.mark.parametrize("task", CONFIGS)
def test_a_pass_never_leaves_its_device(task: str) -> None:
    with FakeTensorMode(), torch.device("cuda"), torch.inference_mode():
        network = build_network(**CONFIGS[task])
        clip = torch.zeros(1, 4, 3 + network.config.nonblind_denoising, 32, 40)
        flows: Any = None
        if network.uses_flows:
            pyramid = tuple(torch.zeros(1, 3, 2, 32 >> i, 40 >> i) for i in range(4))
            flows = (pyramid, pyramid)
        with OnlyOn():
            network(clip, flows)
