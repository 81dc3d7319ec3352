"""The golden cases: clips and weights drawn by a rule, and outputs that any correct implementation reproduces."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.golden.fill import fill_parameter, make_clip
from vrt_core import build_network

GOLDEN = Path(__file__).parents[1] / "golden"
LAYOUTS = json.loads((GOLDEN / "layouts.json").read_text())
CASES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
TINY = [case for case in CASES if case.startswith("tiny")]


def filled_network(name: str):
    """Return the network of a layout with its golden weights."""
    network = build_network(**LAYOUTS[name]["config"])
    shapes = LAYOUTS[name]["parameters"]
    network.load_state_dict({key: torch.from_numpy(fill_parameter(key, tuple(shape))) for key, shape in shapes.items()})
    return network


def golden_clip(name: str, frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Return the golden clip of a layout at a size, (1, T, C, H, W)."""
    channels = 4 if LAYOUTS[name]["config"].get("nonblind_denoising") else 3
    return torch.from_numpy(make_clip(frames, channels, height, width, seed))


def errors(golden, key: str, value: Tensor) -> tuple[float, float, float]:
    """Return relative L2, median and largest absolute error of ``value`` against the stored samples of ``key``."""
    assert list(value.shape) == list(golden[f"{key}.shape"])
    samples = value.reshape(-1)[:: int(golden[f"{key}.stride"])].numpy()
    difference = np.abs(samples - golden[key])
    return (
        float(np.linalg.norm(difference) / np.linalg.norm(golden[key])),
        float(np.median(difference)),
        float(difference.max()),
    )
