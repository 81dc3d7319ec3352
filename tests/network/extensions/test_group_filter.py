"""The group filter against the formulas written out patch by patch, and in its settings."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.network.extensions.test_frequency_prior import estimate, level, moving_waves, noisy, psnr
from vrt_core.network import ops
from vrt_core.network.extensions.frequency_prior import opponent_colours
from vrt_core.network.extensions.group_filter import GROUP_SIZE, REACH_PX, GroupFilter
from vrt_core.network.extensions.patch_search import SEARCH_PX, search
from vrt_core.network.ops import chunking

SIGMA = 0.1


def filtered(frames: Tensor, pilot: Tensor, noise_level: Tensor | None = None, passes: int = 1) -> Tensor:
    noise_level = level(frames) if noise_level is None else noise_level
    return GroupFilter(passes)(frames[None], pilot[None], noise_level[None])[0]


def written_out(frames: Tensor, pilot: Tensor, sigma: float) -> Tensor:
    """Filter one group after the other in float64."""
    T, C, H, W = frames.shape
    colours = opponent_colours().double()
    noisy_frames, pilot_frames = (torch.einsum("ij,tjhw->tihw", colours, x.double()) for x in (frames, pilot))
    total, weights = torch.zeros_like(noisy_frames), torch.zeros(T, 1, H, W, dtype=torch.float64)
    variance = sigma**2 + min(16 / 255 * sigma, 0.6 * sigma**2)
    level = variance + 1 / 255**2
    for t in range(T):
        for top in range(0, H - 7, 8):
            for left in range(0, W - 7, 8):
                here = pilot_frames[t, 0, top : top + 8, left : left + 8]
                places = [
                    (s, y, x)
                    for s in range(max(t - 4, 0), min(t + 5, T))
                    for y in range(max(top - 6, 0), min(top + 7, H - 7))
                    for x in range(max(left - 6, 0), min(left + 7, W - 7))
                ]
                places.sort(
                    key=lambda p: float((pilot_frames[p[0], 0, p[1] : p[1] + 8, p[2] : p[2] + 8] - here).square().sum())
                )
                places = places[:24]
                estimates, passed = [], 0.0
                for c in range(C):
                    X, Y = (
                        torch.stack([x[s, c, y : y + 8, z : z + 8].flatten() for s, y, z in places])
                        for x in (pilot_frames, noisy_frames)
                    )
                    mean = X.mean(dim=0)
                    covariance = (X - mean).T @ (X - mean) / 24 + torch.eye(64) / 255**2
                    gain = covariance @ torch.linalg.inv(covariance + variance * torch.eye(64))
                    estimates.append(mean + (Y - mean) @ gain.T)
                    span = torch.linalg.inv((X - mean) @ (X - mean).T + 24 * level * torch.eye(24))
                    passed += 24 - 24 * level * float(span.trace())
                weight = 1 / (passed / 3 / 64 + 1 / 24)
                for n, (s, y, x) in enumerate(places):
                    for c in range(C):
                        total[s, c, y : y + 8, x : x + 8] += weight * estimates[c][n].view(8, 8)
                    weights[s, 0, y : y + 8, x : x + 8] += weight
    return torch.einsum("ij,tihw->tjhw", colours, total / weights)


def test_equals_the_filter_written_out() -> None:
    clean = moving_waves(2, 32, 40)
    frames = noisy(clean)
    pilot = estimate(frames)
    assert_close(filtered(frames, pilot), written_out(frames, pilot, SIGMA).float(), rtol=0, atol=1e-4)


def test_equals_its_reference() -> None:
    frames = noisy(moving_waves(3, 40, 32))
    pilot = estimate(frames)
    fast = filtered(frames, pilot)
    with ops.reference():
        assert_close(filtered(frames, pilot), fast, rtol=0, atol=1e-4)


def test_a_second_pass_starts_from_the_first() -> None:
    frames = noisy(moving_waves(3, 40, 32))
    pilot = estimate(frames)
    assert torch.equal(filtered(frames, pilot, passes=2), filtered(frames, filtered(frames, pilot)))


@pytest.mark.parametrize(("num_frames", "gain_db"), [(1, 0.3), (2, 0.5), (6, 1)])
def test_removes_what_the_prior_leaves(num_frames: int, gain_db: float) -> None:
    clean = moving_waves(num_frames)
    frames = noisy(clean)
    pilot = estimate(frames)
    assert psnr(filtered(frames, pilot), clean) > psnr(pilot, clean) + gain_db


def test_finds_the_patches_that_have_moved() -> None:
    """Each frame is the one before it, two pixels further right and one down."""
    still = torch.rand(80, 80, generator=torch.Generator().manual_seed(0))
    clip = torch.stack([still[16 - t : 64 - t, 16 - 2 * t : 64 - 2 * t] for t in range(4)])
    corners = search(clip, (2, 3), 4).view(4, 6, 4)
    for t in range(4):
        for column in range(6):
            expected = {(s * 48 + 16 + s - t) * 48 + 8 * column + 2 * (s - t) for s in range(4)}
            if 8 * column - 2 * t >= 0 and 8 * column + 2 * (3 - t) <= 40:
                assert {*corners[t, column].tolist()} == expected


@pytest.mark.parametrize("num_frames", [1, 5])
def test_without_noise_the_frames_stay_as_they_are(num_frames: int) -> None:
    clean = moving_waves(num_frames)
    assert_close(filtered(clean, clean + 0.02 * torch.rand_like(clean), level(clean, 0.0)), clean, rtol=0, atol=1e-5)


def test_a_noise_level_map_is_followed_on_either_side() -> None:
    frames = noisy(moving_waves(4, 40, 112))
    pilot, levels = estimate(frames), level(frames, 0.04)
    levels[..., 56:] = 0.15
    mapped = filtered(frames, pilot, levels)
    for side, sigma in ((slice(None, 56 - REACH_PX), 0.04), (slice(56 + REACH_PX, None), 0.15)):
        even = filtered(frames, pilot, level(frames, sigma))
        assert_close(mapped[..., side], even[..., side], rtol=0, atol=2e-5)
    assert not torch.allclose(mapped, even, atol=1e-3)


def test_areas_without_texture_are_covered() -> None:
    """All patches are equally similar there."""
    frames = torch.full((3, 3, 48, 48), 0.25)
    assert_close(filtered(frames, frames), frames, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (32, 33)])
def test_any_size(size: tuple[int, int]) -> None:
    frames = torch.rand(2, 3, *size)
    out = filtered(frames, frames)
    assert out.shape == frames.shape
    assert out.isfinite().all()


def test_each_clip_of_a_batch_is_its_own() -> None:
    frames = torch.stack([noisy(moving_waves(2), seed=seed) for seed in range(2)])
    pilot = torch.stack([estimate(clip) for clip in frames])
    levels = torch.full_like(frames[:, :, :1], SIGMA)
    batch = GroupFilter(1)(frames, pilot, levels)
    assert_close(batch[1], filtered(frames[1], pilot[1]), rtol=0, atol=0)


def test_chunks_strips_and_bands_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = noisy(moving_waves(3, 168, 40))
    pilot, calls = estimate(frames), list[int]()
    whole = filtered(frames, pilot)
    monkeypatch.setattr(chunking, "budget_bytes", lambda device: 1 << 20)
    monkeypatch.setattr(chunking, "_BAND_BYTES", 1 << 18)
    assert chunking.band_height(168, 3 * 3 * 40 * 4, chunking.GROUP_FILTER_COPIES, REACH_PX) < 100
    group_filter = GroupFilter(1)
    parts = group_filter(frames[None], pilot[None], level(frames)[None], lambda: calls.append(1))[0]
    assert_close(parts, whole, rtol=0, atol=1e-4)
    assert len(calls) == group_filter.num_chunks(3, 168, 40, frames.device) > 3 * 3


def test_what_is_not_a_number_stays_where_it_is() -> None:
    frames = noisy(moving_waves(2, 96, 32))
    frames[0, 0, 8, 8] = float("nan")
    out = filtered(frames, frames)
    assert out[0, :, 8, 8].isnan().any()
    assert out[..., 64:, :].isfinite().all()


def test_an_exception_in_a_chunk_ends_the_pass() -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    clip = torch.rand(1, 2, 3, 32, 32)
    with pytest.raises(KeyboardInterrupt):
        GroupFilter(1)(clip, clip, torch.zeros(1, 2, 1, 32, 32), cancel)


def test_groups_are_as_large_as_corners_allow() -> None:
    """A patch in a corner of a single frame has this many neighbours, itself among them."""
    assert GROUP_SIZE <= (SEARCH_PX + 1) ** 2
