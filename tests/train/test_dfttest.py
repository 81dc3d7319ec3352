"""DFTTest as a baseline: the real plugin."""

import subprocess
import sys
from pathlib import Path

import pytest

from vrt_train.evaluation.dfttest import reason_to_skip

pytest.importorskip("vapoursynth")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plugin() -> None:
    if reason := reason_to_skip():
        pytest.skip(reason)


CODE = """
import torch
from torch.testing import assert_close
from vrt_train.evaluation.dfttest import dfttest
from vrt_train.evaluation.metrics import psnr

clip = torch.rand(6, 3, 40, 52)
assert_close(dfttest(clip, 0.0), clip, rtol=0, atol=1e-5)

clean = torch.linspace(0.2, 0.8, 64).expand(6, 3, 48, 64).contiguous()
noisy = clean + 20 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
before = psnr(noisy, clean)
assert psnr(dfttest(noisy, 20.0), clean) > before + 13
assert psnr(dfttest(noisy, 5.0), clean) < before + 3
print("done")
"""


def test_noise_of_the_given_level_is_removed_and_nothing_else() -> None:
    """In a process of its own: other tests leave a VapourSynth core behind, on which the plugin has aborted once."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vapoursynth", None)
    reason = reason_to_skip()
    assert reason is not None
    assert "evaluation" in reason
