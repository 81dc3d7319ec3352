"""Blind estimation of the noise level."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.fake_restorers import fake_restorer
from vrt_core import InputError, estimate_sigma, load_restorer
from vrt_core.network.extensions.frequency_prior import opponent_colours
from vrt_train.data.camera_noise import add_camera_noise, compress
from vrt_train.data.degradations import round_to_8bit
from vrt_train.evaluation.metrics import psnr


def smooth_clip(num_frames: int, height: int, width: int) -> Tensor:
    """Smooth shapes with soft edges, as a lens images them: (T, 3, H, W), without noise."""
    y, x = torch.meshgrid(torch.linspace(0, 9, height), torch.linspace(0, 12, width), indexing="ij")
    waves = 0.5 + 0.2 * torch.sin(x + y) + 0.2 * torch.cos(2 * x) * torch.sin(0.5 * y)
    frame = torch.stack((waves, waves.flip(0), torch.sigmoid(20 * (waves - 0.5))))
    return frame.expand(num_frames, -1, -1, -1).clone()


def with_noise(frames: Tensor, sigma_255: float, seed: int = 0) -> Tensor:
    return frames + sigma_255 / 255 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [2.0, 10.0, 30.0, 50.0])
def test_white_noise_is_measured(sigma: float) -> None:
    assert estimate_sigma(with_noise(smooth_clip(4, 72, 96), sigma)) == pytest.approx(sigma, rel=0.05, abs=0.3)


def test_a_clean_frame_has_none() -> None:
    assert estimate_sigma(smooth_clip(2, 64, 64)) < 0.5


def test_noise_shared_by_the_channels_is_measured() -> None:
    grey = with_noise(smooth_clip(4, 64, 64)[:, :1], 20).expand(-1, 3, -1, -1)
    assert estimate_sigma(grey) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("sigma", [2.0, 10.0, 30.0])
def test_white_noise_is_measured_alike_where_coloured_noise_is_expected(sigma: float) -> None:
    noisy = with_noise(smooth_clip(4, 72, 96), sigma)
    assert estimate_sigma(noisy, coloured=True) == estimate_sigma(noisy)


def test_noise_without_fine_colour_is_measured_by_brightness() -> None:
    clean = smooth_clip(4, 96, 96)
    opponent = torch.einsum("ij,tjhw->tihw", opponent_colours(), with_noise(clean, 10) - clean)
    opponent[:, 1:] = F.interpolate(F.avg_pool2d(opponent[:, 1:], 2), scale_factor=2, mode="bilinear")
    noisy = clean + torch.einsum("ij,tihw->tjhw", opponent_colours(), opponent)
    assert estimate_sigma(noisy) < 7  # in each channel
    assert estimate_sigma(noisy, coloured=True) == pytest.approx(1.2 * 10, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3, 5, 200), (2, 3, 9, 9)])
def test_frames_that_are_too_small_count_as_clean(shape: tuple[int, ...]) -> None:
    assert estimate_sigma(torch.rand(shape)) == estimate_sigma(torch.rand(shape), coloured=True) == 0.0


def test_the_estimate_is_at_most_the_maximum_of_the_models() -> None:
    assert estimate_sigma(with_noise(smooth_clip(2, 64, 64), 90)) == 50.0


def test_every_scene_gets_its_own_level_through_every_entry_point(caplog: pytest.LogCaptureFixture) -> None:
    clip = torch.cat((with_noise(smooth_clip(3, 64, 64), 10), with_noise(smooth_clip(3, 64, 64).flip(-1), 40, seed=1)))
    restorer = fake_restorer(sigma=True)
    with caplog.at_level(logging.INFO, logger="vrt_core"):
        whole = restorer.restore(clip, sigma_255="auto", cuts=[3])
    levels = [float(line.split("sigma ")[1].split()[0]) for line in caplog.messages if "estimated" in line]
    assert levels == pytest.approx([10, 40], rel=0.06)
    streamed = torch.stack(list(restorer.stream(iter(clip), sigma_255="auto", cuts=[3])))
    assert torch.equal(whole, streamed)
    for scene, restored in zip(clip.split(3), whole.split(3), strict=True):
        assert torch.equal(restorer.restore(scene, sigma_255=estimate_sigma(scene), cuts="off"), restored)


def test_networks_with_a_prior_remove_what_a_codec_left_of_the_noise() -> None:
    clean = smooth_clip(6, 96, 128)
    noisy = add_camera_noise(clean, 1.5e-2, 6e-3, torch.Generator().manual_seed(0))
    noisy = compress(round_to_8bit(noisy), "libx264", 20)
    restorer = load_restorer("denoise-fast", device="cpu")
    restored = restorer.restore(noisy, sigma_255="auto", cuts="off")
    assert psnr(restored, clean) > psnr(restorer.restore(noisy, sigma_255=estimate_sigma(noisy)), clean) + 3
    assert torch.equal(restored, restorer.restore(noisy, sigma_255=estimate_sigma(noisy, coloured=True), cuts="off"))


def test_auto_is_refused_where_no_level_is_accepted() -> None:
    with pytest.raises(InputError, match="takes no noise level"):
        fake_restorer().restore(torch.rand(2, 3, 16, 16), sigma_255="auto")
    with pytest.raises(InputError, match="or 'auto'"):
        fake_restorer(sigma=True).restore(torch.rand(2, 3, 16, 16), sigma_255="much")  # type: ignore[arg-type]
