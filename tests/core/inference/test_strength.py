"""Strength: restored frames mixed with those read, luma and chroma apart, alike in every entry point."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.fake_restorers import by_windows, fake_restorer, fake_runner, random_clip
from vrt_core import InputError, RestoreOptions, Restorer
from vrt_core.inference.strength import FULL_STRENGTH, Strength

BT601 = (0.299, 0.114)


def ycc(rgb: Tensor, weights: tuple[float, float]) -> Tensor:
    """Return luma and the differences of blue and red from it, (3, H, W)."""
    kr, kb = weights
    red, green, blue = rgb.double()
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    return torch.stack((luma, blue - luma, red - luma))


def test_the_ends_are_exact() -> None:
    restored, source = random_clip(2, 9, 11)
    assert FULL_STRENGTH.mix(restored, source) is restored
    assert torch.equal(Strength(0, 0).mix(restored, source), source)
    assert torch.allclose(Strength(0.25, 0.25).mix(restored, source), 0.25 * restored + 0.75 * source, atol=1e-6)


@pytest.mark.parametrize("weights", [BT601, (0.2126, 0.0722), (0.2627, 0.0593)])
@pytest.mark.parametrize(("luma", "chroma"), [(1, 0), (0, 1), (0.7, 0.2)])
def test_luma_and_chroma_are_mixed_apart(weights: tuple[float, float], luma: float, chroma: float) -> None:
    restored, source = random_clip(2, 9, 11)
    mixed = ycc(Strength(luma, chroma, weights).mix(restored, source), weights)
    before, after = ycc(source, weights), ycc(restored, weights)
    assert torch.allclose(mixed[0], luma * after[0] + (1 - luma) * before[0], atol=1e-6)
    assert torch.allclose(mixed[1:], chroma * after[1:] + (1 - chroma) * before[1:], atol=1e-6)


def test_frames_before_are_enlarged_by_a_bicubic_filter() -> None:
    source, restored = random_clip(1, 9, 11)[0], random_clip(1, 18, 22)[0]
    enlarged = F.interpolate(source[None], scale_factor=2, mode="bicubic")[0]
    assert torch.equal(Strength(0, 0).mix(restored, source), enlarged)


@pytest.mark.parametrize("facts", [{}, {"scale": 2}, {"sigma": True, "sigma_255": 20}, {"tile_px": 16}])
@pytest.mark.parametrize("settings", [{"strength": 0.6}, {"strength": 1.0, "chroma_strength": 0.3}])
def test_every_entry_point_gives_the_same_frames(facts: dict[str, Any], settings: dict[str, Any]) -> None:
    clip = random_clip(11, 24, 32)
    restorer = fake_restorer(**facts, **settings, cuts=(7,), luma_weights=BT601)
    result = restorer.restore(clip)
    assert torch.equal(torch.stack(list(restorer.stream(clip))), result)
    assert torch.equal(by_windows(restorer, clip, cuts=(7,)), result)
    full = fake_restorer(**facts, cuts=(7,)).restore(clip)
    expected = [Strength.from_options(restorer.options).mix(a, b) for a, b in zip(full, clip, strict=True)]
    assert torch.allclose(result, torch.stack(expected), atol=1e-6)  # it is linear, as the cross-fade is
    assert (result - full).abs().max() > 0.01


def test_a_chain_mixes_after_each_network_that_restores() -> None:
    clip = random_clip(7, 16, 24)
    facts: dict[str, Any] = {"strength": 0.5, "chroma_strength": 0.2}
    first, second = fake_runner(name="a", **facts), fake_runner(name="b", scale=2, **facts)
    between = fake_runner(name="c", interpolates=True, **facts)
    chain = Restorer([first, second, between], options=RestoreOptions(**facts))
    expected = clip
    for runner in (first, second, between):
        expected = Restorer([runner]).restore(expected, cuts="off")
    assert torch.equal(chain.restore(clip, cuts="off"), expected)
    assert torch.equal(by_windows(chain, clip), expected)
    assert [part.options.strength for part in chain.split()] == [1, 1, 1]  # the runners have it


@pytest.mark.parametrize("name", ["strength", "chroma_strength"])
def test_wrong_strengths(name: str) -> None:
    values: list[Any] = [-0.1, 1.1, float("nan"), "0.5", True]
    for value in values:
        with pytest.raises(InputError, match=rf"{name} \(.*\) must be a number from 0 to 1"):
            RestoreOptions(**{name: value})
    with pytest.raises(InputError, match=rf"{name} \(0.5\) was given, but model fake interpolates"):
        fake_restorer(interpolates=True, **{name: 0.5})
    fake_restorer(interpolates=True, **{name: 1.0})


@pytest.mark.parametrize(
    "weights", [(0.3,), (0.3, 0.1, 0.2), (0.9, 0.1), (-0.1, 0.3), ("a", "b"), 0.3, (float("nan"), 0)]
)
def test_wrong_luma_weights(weights: Any) -> None:
    with pytest.raises(InputError, match=r"luma_weights \(.*\) must be two numbers"):
        RestoreOptions(luma_weights=weights)
