"""PSNR of the shipped models on an excerpt of the demo clip, in fp32 and bf16, against the measured values."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vrt_core import load_restorer
from vrt_train.data.degradations import enlarge, round_to_8bit, shrink
from vrt_train.data.images import to_images
from vrt_train.data.photos import Exposure, MovingPhotos
from vrt_train.evaluation.clips import read_frames
from vrt_train.evaluation.metrics import psnr
from vrt_train.evaluation.scores import degrade_footage, draw_blurred

CLIP = Path(__file__).parents[2] / "demo" / "bird.mp4"
MARGIN_DB = 0.3
MEASURED_PSNR = {"sr-small": 28.49, "interpolate-small": 37.90, "deblur-small": 36.93, "footage-small": 32.60}


def sr_problem():
    """Downscaled frames: (input, baseline, target, output frames to compare)."""
    large = read_frames(CLIP, 0, 6)[:, :, 40:136, 60:188]
    small = round_to_8bit(shrink(large, 4))
    return small, enlarge(small, 4), large, slice(None)


def interpolation_problem():
    """Every second frame of a pan over a photo."""
    photo = to_images(read_frames(CLIP, 0, 1))[0]
    exposure = Exposure(speed_px=(2.0, 3.0))
    frames, _, _ = MovingPhotos([photo]).draw(np.random.default_rng(3), 9, 96, layers=1, exposure=exposure)
    frames = round_to_8bit(frames)
    inputs = frames[::2]
    return inputs, (inputs[:-1] + inputs[1:]) / 2, frames[1::2], slice(1, -1, 2)


def deblurring_problem():
    """A pan over a photo with motion blur."""
    blurred, sharp, _ = draw_blurred(to_images(read_frames(CLIP, 0, 1))[0], 0)
    return blurred, blurred, sharp, slice(None)


def footage_problem():
    """Low light and a codec."""
    clean = read_frames(CLIP, 0, 6)[:, :, 40:136, 60:188]
    noisy = degrade_footage(clean, "low light, crf 20", torch.Generator().manual_seed(0))
    return noisy, noisy, clean, slice(None)


PROBLEMS = {
    "sr-small": sr_problem,
    "interpolate-small": interpolation_problem,
    "deblur-small": deblurring_problem,
    "footage-small": footage_problem,
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", PROBLEMS)
def test_model_reaches_its_score_and_beats_the_baseline(model, precision):
    inputs, baseline, target, compared = PROBLEMS[model]()
    restorer = load_restorer(model, device="cpu", precision=precision)
    restored = restorer.restore(inputs, sigma_255="auto" if restorer.needs_sigma else None)[compared]
    assert restored.shape == target.shape
    assert psnr(restored, target) > MEASURED_PSNR[model] - MARGIN_DB
    assert psnr(restored, target) > psnr(baseline, target)


@pytest.mark.parametrize(("sigma_255", "min_psnr"), [(0.0, 45.0), ("auto", 38.4)])
def test_footage_without_noise_hardly_changes(sigma_255, min_psnr):
    clean = read_frames(CLIP, 0, 6)[:, :, 40:136, 60:188]
    assert psnr(load_restorer("footage-small", device="cpu").restore(clean, sigma_255=sigma_255), clean) > min_psnr
