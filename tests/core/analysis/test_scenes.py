"""The cut detector on moving pictures made of smooth noise: motion, noise, flashes and fades are no cuts."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrt_core.analysis.scenes import CutDetector, find_cuts, is_cut


def picture(seed: int, height: int = 96, width: int = 128) -> Tensor:
    """A picture with large and small shapes, (3, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    layers = (torch.rand(1, 3, size, size, generator=generator) for size in (5, 10, 24))
    layers = (F.interpolate(x, (height, width), mode="bilinear") for x in layers)
    mixed = sum(weight * x for weight, x in zip((0.5, 0.35, 0.15), layers, strict=True))[0]  # type: ignore[misc]
    return (mixed - mixed.min()) / (mixed.max() - mixed.min())


def pan(seed: int, frames: int, px_per_frame: int) -> Tensor:
    wide = picture(seed, 96, 128 + frames * px_per_frame)
    return torch.stack([wide[:, :, n * px_per_frame :][:, :, :128] for n in range(frames)])


def noisy(clip: Tensor, sigma_255: float = 50) -> Tensor:
    return clip + torch.randn(clip.shape, generator=torch.Generator().manual_seed(9)) * sigma_255 / 255


@pytest.mark.parametrize("sigma_255", [0, 50])
@pytest.mark.parametrize("seed", range(6))
def test_cuts_between_moving_scenes_are_found(seed: int, sigma_255: float) -> None:
    clip = torch.cat([pan(10 * seed + i, 5, 4) for i in range(3)])
    assert find_cuts(noisy(clip, sigma_255)) == [5, 10]


@pytest.mark.parametrize("seed", range(6))
def test_noise_alone_is_no_cut(seed: int) -> None:
    still = picture(seed).expand(6, 3, 96, 128)
    assert find_cuts(noisy(still)) == []
    assert find_cuts(noisy(0.1 * still)) == []  # hardly anything but noise
    assert find_cuts(noisy(still[..., :32, :32])) == []


def test_flashes_and_fades_are_no_cuts() -> None:
    still = picture(0)
    flash = (1.8 * still + 0.2).clamp(0, 1)
    assert find_cuts([still, flash, still]) == []
    assert find_cuts(noisy(torch.stack([still, flash, still]))) == []
    assert find_cuts([still * level for level in torch.linspace(1, 0, 12)]) == []


def test_black_and_white_frames_end_a_scene() -> None:
    still = picture(0)
    assert find_cuts([still, torch.zeros_like(still), still]) == [1, 2]
    assert find_cuts([torch.zeros_like(still)] * 3) == []


def test_only_two_neighbours_matter() -> None:
    a, b, c = (picture(seed) for seed in range(3))
    detector = CutDetector()
    assert [detector(frame) for frame in (a, b, b, c)] == [False, is_cut(a, b), False, is_cut(b, c)]
    assert is_cut(a, b)


@pytest.mark.parametrize("size", [(1, 1), (8, 120), (31, 31)])
def test_tiny_frames_have_no_cuts(size: tuple[int, int]) -> None:
    assert find_cuts([torch.zeros(3, *size), torch.ones(3, *size)]) == []


def test_noise_level_and_dtype_do_not_matter() -> None:
    a, b = picture(0), picture(1)
    for x, y in ((a, b), (a, a)):
        level = torch.zeros(1, 96, 128)
        assert is_cut(torch.cat((x, level)), torch.cat((y, level + 0.1))) == is_cut(x, y)
        assert is_cut(x.half(), y.half()) == is_cut(x, y)
