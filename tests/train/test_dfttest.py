"""DFTTest as a baseline: the real plugin."""

import sys

import pytest
import torch
from torch.testing import assert_close

from vrt_train.evaluation.dfttest import dfttest, reason_to_skip
from vrt_train.evaluation.metrics import psnr

pytest.importorskip("vapoursynth")


@pytest.fixture(autouse=True)
def plugin() -> None:
    if reason := reason_to_skip():
        pytest.skip(reason)


def test_without_noise_frames_stay_as_they_are() -> None:
    clip = torch.rand(6, 3, 40, 52)
    assert_close(dfttest(clip, 0.0), clip, rtol=0, atol=1e-5)


def test_noise_of_the_given_level_is_removed() -> None:
    clean = torch.linspace(0.2, 0.8, 64).expand(6, 3, 48, 64).contiguous()
    noisy = clean + 20 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    before = psnr(noisy, clean)
    assert psnr(dfttest(noisy, 20.0), clean) > before + 13
    assert psnr(dfttest(noisy, 5.0), clean) < before + 3


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vapoursynth", None)
    reason = reason_to_skip()
    assert reason is not None
    assert "evaluation" in reason
