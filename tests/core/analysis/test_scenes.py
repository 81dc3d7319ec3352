"""The cut detector on synthetic moving scenes: it ignores motion, noise, flashes and fades."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrt_core.analysis import CutDetector, find_cuts


def textured_frame(seed: int, height: int = 96, width: int = 128) -> Tensor:
    """A frame with large and small shapes, (3, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    layers = (torch.rand(1, 3, size, size, generator=generator) for size in (5, 10, 24))
    layers = (F.interpolate(x, (height, width), mode="bilinear") for x in layers)
    mixed = sum(weight * x for weight, x in zip((0.5, 0.35, 0.15), layers, strict=True))[0]  # type: ignore[misc]
    return (mixed - mixed.min()) / (mixed.max() - mixed.min())


def pan(seed: int, frames: int, px_per_frame: int) -> Tensor:
    wide = textured_frame(seed, 96, 128 + frames * px_per_frame)
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
    still = textured_frame(seed).expand(6, 3, 96, 128)
    assert find_cuts(noisy(still)) == []
    assert find_cuts(noisy(0.1 * still)) == []  # hardly anything but noise
    assert find_cuts(noisy(still[..., :32, :32])) == []


def test_flashes_and_fades_are_no_cuts() -> None:
    still = textured_frame(0)
    flash = (1.8 * still + 0.2).clamp(0, 1)
    assert find_cuts([still, flash, still]) == []
    assert find_cuts(noisy(torch.stack([still, flash, still]))) == []
    assert find_cuts([still * level for level in torch.linspace(1, 0, 12)]) == []


def test_black_and_white_frames_end_a_scene() -> None:
    still = textured_frame(0)
    assert find_cuts([still, torch.zeros_like(still), still]) == [1, 2]
    assert find_cuts([torch.zeros_like(still)] * 3) == []


def test_only_two_neighbours_matter() -> None:
    a, b, c = (textured_frame(seed) for seed in range(3))
    detector = CutDetector()
    assert [detector(frame) for frame in (a, b, b, c)] == [
        False,
        bool(find_cuts((a, b))),
        False,
        bool(find_cuts((b, c))),
    ]
    assert find_cuts((a, b)) == [1]


@pytest.mark.parametrize("size", [(1, 1), (8, 120), (31, 31)])
def test_tiny_frames_have_no_cuts(size: tuple[int, int]) -> None:
    assert find_cuts([torch.zeros(3, *size), torch.ones(3, *size)]) == []


def test_noise_level_and_dtype_do_not_matter() -> None:
    a, b = textured_frame(0), textured_frame(1)
    for x, y in ((a, b), (a, a)):
        level = torch.zeros(1, 96, 128)
        assert find_cuts((torch.cat((x, level)), torch.cat((y, level + 0.1)))) == find_cuts((x, y))
        assert find_cuts((x.half(), y.half())) == find_cuts((x, y))
