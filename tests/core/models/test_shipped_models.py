"""The shipped models are what their cards say and reach their measured PSNR on the demo clip (not training data)."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vrt_core import MODELS, load_restorer
from vrt_core.models import find_weights, inspect_weights
from vrt_train.evaluation.metrics import psnr

CLIP = Path(__file__).parents[3] / "demo" / "bird.mp4"
MEASURED_PSNR = {
    ("denoise-small", 10.0): 39.81,
    ("denoise-small", 30.0): 34.04,
    ("denoise-small", 50.0): 31.43,
    ("denoise-fast", 10.0): 39.47,
    ("denoise-fast", 30.0): 33.68,
    ("denoise-fast", 50.0): 31.04,
}
MARGIN_DB = 0.1


@pytest.fixture(scope="module")
def clean():
    with av.open(str(CLIP)) as container:
        frames = [f.to_ndarray(format="rgb24") for _, f in zip(range(8), container.decode(video=0), strict=False)]
    return torch.from_numpy(np.stack(frames)[:, 40:136, 60:188]).permute(0, 3, 1, 2).float() / 255


def with_noise(clip, sigma_255: float):
    return clip + torch.randn(clip.shape, generator=torch.Generator().manual_seed(0)) * (sigma_255 / 255)


@pytest.mark.parametrize("name", [card.name for card in MODELS.values() if card.shipped])
def test_files_are_what_the_manifest_says(name):
    card = MODELS[name]
    path = find_weights(card)
    assert path.stat().st_size == card.bytes
    assert path.stat().st_size <= 8_000_000
    info = inspect_weights(path)
    assert info.sha256 == card.sha256
    assert info.parameters == card.parameters
    assert card.name in info.names


@pytest.mark.parametrize(("name", "sigma_255"), MEASURED_PSNR)
def test_denoiser_reaches_its_score(clean, name, sigma_255):
    restored = load_restorer(name, device="cpu").restore(with_noise(clean, sigma_255), sigma_255=sigma_255)
    assert psnr(restored, clean) > MEASURED_PSNR[name, sigma_255] - MARGIN_DB


@pytest.mark.parametrize(("precision", "min_psnr"), [("fp16", 70.0), ("bf16", 52.0)])
def test_half_precision_restores_alike(clean, precision, min_psnr):
    clean = clean[:4, :, :64, :64]  # half precision is slow on most CPUs
    noisy = with_noise(clean, 30)
    restorers = [load_restorer("denoise-small", device="cpu", precision=p) for p in ("fp32", precision)]
    single, half = (restorer.restore(noisy, sigma_255=30) for restorer in restorers)
    assert -10 * torch.log10((half - single).square().mean()) > min_psnr
    assert abs(psnr(half, clean) - psnr(single, clean)) < 0.05
