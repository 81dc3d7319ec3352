"""The network against values computed by the published implementation."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tests.network.cases import CASES, GOLDEN, LAYOUTS, TINY, errors, filled_network, golden_clip
from vrt_core import build_network
from vrt_core.network import ops
from vrt_core.network.flow import flows_by_hop

LARGE = "005_VRT_videodeblurring_DVD-6x64x64"
"""The one large case that runs by the references too, which take longer."""
MAX_RELATIVE_L2, MAX_MEDIAN = 1e-3, 1e-5
# The weights of this case amplify rounding: evaluated in float64, its sibling of 6x64x64 is 1.0e-5 from the golden
# values itself, and the published code, run elsewhere than where these were made, 1.1e-5 from this one.
MEDIAN_OF_CASE = {"tiny_denoise-4x64x88": 2e-5}


@pytest.fixture(autouse=True)
def two_threads():
    """Resizing rounds by thread count, and a flow that differs in its last bit can move a pixel of ``nearest4``."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", LAYOUTS)
def test_state_dict_has_the_published_names_and_shapes(name):
    with torch.device("meta"):
        network = build_network(**LAYOUTS[name]["config"])
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == LAYOUTS[name]["parameters"]


@pytest.mark.parametrize(
    ("case", "implementation"),
    [(case, nullcontext) for case in CASES]
    + [(case, ops.reference) for case in TINY]
    + [pytest.param(LARGE, ops.reference, marks=pytest.mark.slow)],
    ids=lambda value: {nullcontext: "fast", ops.reference: "reference"}.get(value),
)
def test_output_is_the_published_one(case, implementation):
    name, size = case.rsplit("-", 1)
    network = filled_network(name)
    stages = {}
    for key, module in network.named_modules():
        if key.startswith("stage") and key.count(".") == (1 if key.startswith("stage8") else 0) and key != "stage8":
            module.register_forward_hook(lambda _, __, out, key=key: stages.__setitem__(key, out.movedim(-1, 1)))
    with torch.inference_mode(), implementation():
        stages["output"] = network(golden_clip(name, *map(int, size.split("x"))))

    golden = np.load(GOLDEN / f"{case}.npz")
    compared = [key for key in golden.files if key in stages]
    assert len(compared) == (len(stages) if case in TINY else 1)
    for key in compared:
        relative, median, _ = errors(golden, key, stages[key])
        assert relative < MAX_RELATIVE_L2, key
        if key == "output":
            assert median < MEDIAN_OF_CASE.get(case, MAX_MEDIAN)
    assert abs(float(stages["output"].mean()) - float(golden["output.mean"])) < 1e-5
    assert abs(float(stages["output"].std()) - float(golden["output.std"])) < 1e-5


@pytest.mark.parametrize("case", [case for case in TINY if "vfi" not in case])
def test_flows_are_the_published_ones(case):
    name, size = case.rsplit("-", 1)
    network = filled_network(name)
    with torch.inference_mode():
        backward, forward = network.clip_flows(golden_clip(name, *map(int, size.split("x")))[:, :, :3])
    golden = np.load(GOLDEN / f"{case}.npz")
    for level in range(4):
        composed = flows_by_hop(backward[level], forward[level], network.config.num_hops)
        for direction, flows in zip(("backward", "forward"), composed, strict=True):
            for hop, flow in enumerate(flows):
                _, _, largest = errors(golden, f"flow_{direction}.{4 * hop + level}", flow)
                assert largest < 1e-4, (direction, hop + 1, level)
