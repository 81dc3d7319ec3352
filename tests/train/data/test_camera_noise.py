import numpy as np
import pytest
import torch

from vrt_core import estimate_sigma
from vrt_train.data.camera_noise import add_camera_noise, add_film_grain, compress, from_linear, to_linear
from vrt_train.data.config import DataConfig
from vrt_train.data.dataset import TrainingBatches
from vrt_train.data.library import Library
from vrt_train.evaluation.metrics import psnr


def test_transfer_function_is_that_of_bt709():
    light = torch.tensor([0.0, 0.01, 0.018, 0.5, 1.0])
    torch.testing.assert_close(from_linear(light), torch.tensor([0.0, 0.045, 0.081, 0.7055, 1.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(to_linear(from_linear(light)), light, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.8])
def test_camera_noise_has_the_variance_of_its_light(level):
    clip = torch.full((1, 3, 256, 256), level)
    noisy = add_camera_noise(clip, 1e-4, 1e-3, torch.Generator().manual_seed(0))
    light = float(to_linear(clip).mean())
    slope = 4.5 if light < 0.018 else 1.099 * 0.45 * light**-0.55
    assert float(noisy.std()) == pytest.approx(slope * (1e-4 * light + 1e-6) ** 0.5, rel=0.03)
    assert float(noisy.mean()) == pytest.approx(level, abs=2e-3)


def test_film_grain_is_strongest_in_midtones_and_as_coarse_as_asked():
    levels = torch.tensor([0.02, 0.5]).view(2, 1, 1, 1).expand(2, 3, 192, 192)
    fine, coarse = (add_film_grain(levels, 10, size, torch.Generator().manual_seed(0)) - levels for size in (0.3, 1.0))
    for grain in (fine, coarse):
        assert float(grain[1].std()) * 255 == pytest.approx(10, rel=0.05)
        assert float(grain[0].std()) * 255 == pytest.approx(10 * 2 * (0.02 * 0.98) ** 0.5, rel=0.05)
        between_colours = torch.corrcoef(grain[1].flatten(1))[0, 1]
        assert float(between_colours) == pytest.approx(0.5, abs=0.05)
    neighbours = [
        float(torch.corrcoef(torch.stack((g[1, 0, :, 1:].flatten(), g[1, 0, :, :-1].flatten())))[0, 1])
        for g in (fine, coarse)
    ]
    assert neighbours[0] < 0.1
    assert neighbours[1] > 0.6


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9", "mpeg2video", "mpeg4"])
def test_codecs_lose_more_at_a_higher_crf(photos, codec):
    clip = torch.stack([torch.from_numpy(photos[0][t : t + 64, t : t + 96]) for t in range(4)])
    grey = clip.movedim(-1, 1).float().mean(dim=1, keepdim=True) / 255
    clip = grey.expand(-1, 3, -1, -1)  # colour loses half of its resolution in any file of 4:2:0
    fine, coarse = (psnr(compress(clip, codec, crf), clip) for crf in (10, 45))
    assert fine > 38
    assert coarse < fine - 3


def test_footage_has_its_estimated_noise_level_and_a_clean_target(data_folder):
    library = Library(data_folder, "train")
    plain = DataConfig(num_frames=3, crop_px=48, batch=2)
    filmed = DataConfig(num_frames=3, crop_px=128, batch=2, camera_share=1.0, grain_share=0.3, compressed_share=0.5)
    for step in range(3):
        example = TrainingBatches(library, filmed, 0)[step]
        for inputs, target in zip(example.input, example.target, strict=True):
            assert float(inputs[0, 3, 0, 0]) * 255 == pytest.approx(estimate_sigma(inputs[:, :3]), abs=1e-3)
            assert torch.equal(inputs[:, :3] * 255, (inputs[:, :3] * 255).round())
            assert 15 < psnr(inputs[:, :3], target) < 60
    again = DataConfig(num_frames=3, crop_px=48, batch=2, codecs=("libx264",))
    first, second = (TrainingBatches(library, config, 5)[0] for config in (plain, again))
    assert np.array_equal(first.input, second.input)  # options that are off draw no random numbers


def test_clean_clips_get_no_noise(data_folder):
    config = DataConfig(num_frames=3, crop_px=48, batch=2, sigma_255=(20.0, 30.0), clean_share=1.0, camera_share=1.0)
    example = TrainingBatches(Library(data_folder, "train"), config, 0)[0]
    assert torch.equal(example.input[:, :, :3], (example.target * 255).round() / 255)
    assert float(example.input[:, :, 3].max()) * 255 < 10


def test_the_noise_level_of_a_small_crop_is_that_of_its_surroundings(data_folder):
    config = DataConfig(num_frames=5, crop_px=48, batch=1, camera_share=1.0, compressed_share=1.0, prior_step_px=6)
    batch = TrainingBatches(Library(data_folder, "train"), config, 1)[0]
    assert batch.input.shape == (1, 5, 7, 48, 48)
    assert batch.target.shape == (1, 5, 3, 48, 48)
    assert batch.backward.shape == (1, 4, 2, 48, 48)
    noisy, level, estimate = batch.input[0].split((3, 1, 3), dim=1)
    assert torch.equal(level, level[:1, :, :1, :1].expand_as(level))
    assert psnr(estimate, batch.target[0]) > psnr(noisy, batch.target[0])
