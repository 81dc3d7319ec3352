"""The frequency prior against a plain implementation block by block, at the ends of the clip, and in its settings."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vrt_core.network.extensions import frequency_prior
from vrt_core.network.extensions.block_spectrum import BlockTransform, time_windows
from vrt_core.network.extensions.frequency_prior import REACH_PX, FrequencyPrior
from vrt_core.network.ops import chunking

SIGMA = 0.1


def moving_waves(num_frames: int, height: int = 64, width: int = 72) -> Tensor:
    """A textured picture that moves by one pixel a frame, (T, 3, H, W)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    phases = torch.tensor([0.0, 0.4, 0.9]).view(3, 1, 1)
    return torch.stack(
        [0.5 + 0.2 * torch.sin((x - t) / 3 + phases) + 0.15 * torch.cos((y + x - t) / 5) for t in range(num_frames)]
    )


def noisy(clean: Tensor, sigma: float = SIGMA, seed: int = 0) -> Tensor:
    return clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


def level(frames: Tensor, sigma: float = SIGMA) -> Tensor:
    return torch.full_like(frames[:, :1], sigma)


def estimate(frames: Tensor, noise_level: Tensor | None = None, step_px: int = 4) -> Tensor:
    noise_level = level(frames) if noise_level is None else noise_level
    return FrequencyPrior(step_px)(frames[None], noise_level[None])[0]


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10((a - b).square().mean())


def mirrored(n: int, size: int) -> int:
    n %= 2 * size
    return min(n, 2 * size - 1 - n)


def axes(t: int, top: int, left: int, clip: Tensor) -> list[tuple[int, int, int]]:
    """Return (first element, length of a block, length of the clip) of each axis of a block."""
    return [(t, 5, clip.shape[0]), (top, 12, clip.shape[2]), (left, 12, clip.shape[3])]


def reference(frames: Tensor, sigma: float, step_px: int) -> Tensor:
    """Filter one block after the other with torch.fft, in float64."""
    T, _, H, W = frames.shape
    x = torch.einsum("ij,tjhw->tihw", FrequencyPrior(4).opponent.double(), frames.double())
    sine = torch.sin(math.pi * (torch.arange(12) + 0.5).double() / 12)
    window = (sine[:, None] * sine) / (sine[:, None] * sine).square().mean().sqrt()
    pilot = None
    for _ in range(2):
        total, weights = torch.zeros_like(x), torch.zeros_like(x)
        for t in range(-4, T):
            for top in range(step_px - 12, H, step_px):
                for left in range(step_px - 12, W, step_px):
                    at = torch.meshgrid(
                        torch.tensor([mirrored(t + i, T) for i in range(5)]),
                        torch.tensor([mirrored(top + i, H) for i in range(12)]),
                        torch.tensor([mirrored(left + i, W) for i in range(12)]),
                        indexing="ij",
                    )

                    def spectrum(z: Tensor, at: tuple[Tensor, ...] = at) -> tuple[Tensor, Tensor]:
                        block = z[at[0], :, at[1], at[2]].movedim(-1, 0)  # (3, 5, 12, 12)
                        mean = (block * window.square()).mean(dim=(1, 2, 3), keepdim=True) * window
                        return torch.fft.fftn(block * window - mean, dim=(1, 2, 3), norm="ortho"), mean

                    y, mean = spectrum(x)
                    if pilot is None:
                        ratio = (y.abs().square() / (2.6 * sigma) ** 2).clamp(max=1e4) ** 8
                        gain = ratio / (ratio + 1)
                    else:
                        power = spectrum(pilot)[0].abs().square()
                        gain = power / (power + (0.8 * sigma) ** 2)
                    weight = 720 / (gain.square().sum(dim=(1, 2, 3)) + 4)  # (3,)
                    block = (torch.fft.ifftn(y * gain, dim=(1, 2, 3), norm="ortho").real + mean) * window
                    inside = [range(max(-n, 0), min(size, length - n)) for n, size, length in axes(t, top, left, x)]
                    here = (slice(None), *(slice(part.start, part.stop) for part in inside))
                    n, row, column = (
                        slice(n + part.start, n + part.stop) for n, part in zip((t, top, left), inside, strict=True)
                    )
                    scaled = block * weight.view(3, 1, 1, 1)
                    total[n, :, row, column] += scaled[here].movedim(0, 1)
                    power = (window.square() * weight.view(3, 1, 1, 1)).expand(3, 5, 12, 12)
                    weights[n, :, row, column] += power[here].movedim(0, 1)
        pilot = total / weights
    return torch.einsum("ij,tihw->tjhw", FrequencyPrior(4).opponent.double(), pilot)


def test_equals_the_filter_written_out():
    frames = noisy(moving_waves(5, 14, 17))
    assert_close(estimate(frames, step_px=6), reference(frames, SIGMA, 6).float(), rtol=0, atol=2e-5)


def test_coefficients_of_white_noise_have_its_level():
    transform = BlockTransform(12)
    noise = torch.randn(1, 1, 600, 600, generator=torch.Generator().manual_seed(0))
    spectrum = transform.spectrum(noise)
    power = (spectrum.real.square() + spectrum.imaginary.square()).view(transform.num_frequencies, -1).mean(dim=1)
    assert_close(power, torch.ones_like(power), rtol=0, atol=0.15)


def test_without_a_filter_blocks_add_up_to_the_frames():
    frames, transform = torch.rand(3, 3, 29, 41), BlockTransform(4)
    padded = transform.pad(frames)
    spectrum = transform.spectrum(padded)
    total, weights = transform.overlap_add(
        spectrum.real, spectrum.imaginary, torch.ones_like(spectrum.mean), transform.grid(29, 41)
    )
    assert_close(transform.crop(total / weights, 29, 41), frames)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 5, 9])
def test_the_dft_in_time_is_inverted(num_frames):
    values = torch.randn(2, num_frames, 4, dtype=torch.float64)
    total, count = torch.zeros_like(values), torch.zeros(num_frames, 1, dtype=torch.float64)
    for window in time_windows(num_frames, values):
        spectrum = sum(m @ v[window.frames] for m, v in zip(window.dft, values, strict=True))
        total[:, window.outputs] += torch.stack([m @ spectrum for m in window.inverse])
        count[window.outputs] += 1
        assert window.means.sum() == pytest.approx(1)
    assert_close(total / count, values)


@pytest.mark.parametrize(("num_frames", "gain_db"), [(1, 7.5), (2, 9), (3, 10), (4, 10.5), (5, 11.5), (8, 12)])
def test_more_frames_remove_more_noise(num_frames, gain_db):
    clean = moving_waves(num_frames)
    frames = noisy(clean)
    assert psnr(estimate(frames), clean) > psnr(frames, clean) + gain_db


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_clean_frames_stay_as_they_are(num_frames):
    clean = moving_waves(num_frames)
    assert_close(estimate(clean, level(clean, 0.0)), clean, rtol=0, atol=1e-4)


def test_a_noise_level_map_is_followed_on_either_side():
    frames = noisy(moving_waves(6, 40, 112))
    levels = level(frames, 0.04)
    levels[..., 56:] = 0.15
    mapped = estimate(frames, levels)
    for side, sigma in ((slice(None, 56 - REACH_PX), 0.04), (slice(56 + REACH_PX, None), 0.15)):
        even = estimate(frames, level(frames, sigma))
        assert_close(mapped[..., side], even[..., side], rtol=0, atol=2e-5)
    assert not torch.allclose(mapped, even, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (12, 13)])
def test_any_size(size):
    frames = torch.rand(2, 3, *size)
    out = estimate(frames)
    assert out.shape == frames.shape
    assert out.isfinite().all()


def test_chunks_and_bands_change_nothing_but_rounding(monkeypatch):
    frames = noisy(moving_waves(3, 100, 20))
    whole = estimate(frames)
    calls = []
    monkeypatch.setattr(chunking, "budget_bytes", lambda device: 4 << 20)
    monkeypatch.setattr(chunking, "_BAND_BYTES", 1 << 18)
    assert chunking.band_height(100, 3 * 3 * 20 * 4, chunking.PRIOR_COPIES, REACH_PX) < 80
    prior = FrequencyPrior(4)
    parts = prior(frames[None], level(frames)[None], lambda: calls.append(1))[0]
    assert_close(parts, whole, rtol=0, atol=2e-5)
    assert len(calls) == prior.num_chunks(3, 100, 20, frames.device) > 2 * 3  # passes and bands


def test_an_exception_in_a_chunk_ends_the_pass():
    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FrequencyPrior(4)(torch.rand(1, 2, 3, 20, 20), torch.zeros(1, 2, 1, 20, 20), cancel)


def test_clips_of_a_batch_do_not_mix():
    clips = torch.stack([noisy(moving_waves(5, 24, 24), seed=seed) for seed in (0, 1)])
    both = FrequencyPrior(6)(clips, torch.full_like(clips[:, :, :1], SIGMA))
    assert torch.equal(both[1], estimate(clips[1], step_px=6))


def test_rounding_of_the_power_changes_the_threshold_gain_little():
    power = torch.linspace(0.25, 4, 1001)
    gain = frequency_prior._threshold_gain(power, torch.ones(1))
    assert (gain[1:] - gain[:-1]).abs().max() < 0.02
    assert gain[0] < 0.01
    assert gain[-1] > 0.99
