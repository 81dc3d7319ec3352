"""Frequency prior for denoising networks: a spatio-temporal filter that needs no training; not part of the paper.

Overlapping blocks of 5 frames x 12x12 px are filtered in the frequency domain, in orthonormal opponent colours: first
by a threshold, then by an empirical Wiener filter whose pilot is the first result. The two passes are those of BM3D
(Dabov et al., IEEE TIP 2007). Blocks stay in place, because motion changes the phase of a DFT more than its magnitude.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn

from ..ops import chunking
from ..tmsa import OnBlock
from .block_spectrum import BLOCK_FRAMES, BLOCK_PX, BlockTransform, Spectrum, TimeWindow, time_windows

REACH_PX = 2 * BLOCK_PX
"""Distance beyond which no pixel has an influence, rounded up to a multiple of every step."""

_THRESHOLD, _WIENER_LEVEL = 2.6, 0.8
"""Threshold of the first pass, and noise level of the Wiener filter, in units of sigma."""
_MIN_COEFFICIENTS = 4.0
"""Added to the coefficients that a filter leaves: limits the weight of blocks of which it leaves nothing."""
_MAX_RATIO, _TINY = 1e4, 1e-15


_NUM_PASSES = 2
Span = tuple[int, int]
"""[start, stop) of rows or columns."""


class FrequencyPrior(nn.Module):
    """Estimates clean frames from noisy ones of a known noise level. It has no parameters and passes no gradient."""

    opponent: Tensor

    def __init__(self, step_px: int) -> None:
        """Filter blocks whose corners are ``step_px`` apart along either axis, at most ``BLOCK_PX``."""
        super().__init__()
        self.transform = BlockTransform(step_px)
        self.register_buffer("opponent", opponent_colours(), persistent=False)

    @torch.no_grad()
    def forward(self, clip: Tensor, noise_level: Tensor, on_block: OnBlock = None) -> Tensor:
        """Return the estimate of a clip.

        Args:
            clip: Noisy RGB frames, (N, T, 3, H, W) float32, T >= 1.
            noise_level: Standard deviation of the noise in the units of ``clip``, (N, T, 1, H, W).
            on_block: Called before every chunk of blocks; an exception ends the pass.

        Returns:
            (N, T, 3, H, W) float32.
        """
        out = torch.empty_like(clip)
        _, T, C, H, W = clip.shape
        with torch.autocast(clip.device.type, enabled=False):
            for frames, level, estimate in zip(clip, noise_level, out, strict=True):
                for top, bottom in _bands(T, C, H, W):
                    start, stop = max(top - REACH_PX, 0), min(bottom + REACH_PX, H)
                    rows = self._estimate(frames[:, :, start:stop], level[:, :, start:stop], on_block)
                    estimate[:, :, top:bottom] = rows[:, :, top - start : bottom - start]
        return out

    @torch.no_grad()  # as in a pass: with gradients, chunks are whole bands
    def num_chunks(self, num_frames: int, height: int, width: int, device: torch.device) -> int:
        """Return how often ``on_block`` is called for a clip of RGB frames of this size."""
        bands = _bands(num_frames, 3, height, width)
        heights = [min(bottom + REACH_PX, height) - max(top - REACH_PX, 0) for top, bottom in bands]
        return _NUM_PASSES * sum(len(self._chunks(num_frames, (rows, width), device)) for rows in heights)

    def _estimate(self, frames: Tensor, noise_level: Tensor, on_block: OnBlock) -> Tensor:
        """Return the estimate of frames (T, 3, H, W)."""
        H, W = frames.shape[2:]
        opponent = self.opponent.to(frames.dtype)
        noisy = self.transform.pad(torch.einsum("ij,tjhw->tihw", opponent, frames))
        variance = self.transform.pad(noise_level.square())
        windows = time_windows(len(frames), noisy)
        pilot = None
        for _ in range(_NUM_PASSES):
            total, weights = torch.zeros_like(noisy), torch.zeros_like(noisy)
            for rows, columns in self._chunks(len(frames), (H, W), frames.device):
                if on_block is not None:
                    on_block()
                region = (..., *self.transform.region(rows, columns))
                pilot_spectrum = None if pilot is None else self.transform.spectrum(pilot[region])
                block_variance = self.transform.block_means(variance[region])
                filtered = self._filter(self.transform.spectrum(noisy[region]), block_variance, pilot_spectrum, windows)
                num_blocks = rows[1] - rows[0], columns[1] - columns[0]
                for sums, part in zip((total, weights), self.transform.overlap_add(*filtered, num_blocks), strict=True):
                    sums[region] += part
            pilot = self.transform.pad(self.transform.crop(total.div_(weights), H, W))
        assert pilot is not None
        return torch.einsum("ij,tihw->tjhw", opponent, self.transform.crop(pilot, H, W))

    def _chunks(self, num_frames: int, size: tuple[int, int], device: torch.device) -> list[tuple[Span, Span]]:
        """Return the rows and columns of the blocks that are filtered at a time, for frames of a size (H, W)."""
        rows, columns = self.transform.grid(*size)
        item_bytes = chunking.filtered_block_bytes(num_frames, BLOCK_FRAMES, 3 * self.transform.num_frequencies)
        count = chunking.chunk_size(item_bytes, device)
        column_chunks = chunking.even_chunks(columns, count)
        row_chunks = chunking.even_chunks(rows, count // min(columns, count))
        return list(product(row_chunks, column_chunks))

    def _filter(
        self, noisy: Spectrum, variance: Tensor, pilot: Spectrum | None, windows: list[TimeWindow]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Filter blocks and return the sums over all blocks in time: real, imaginary, weight; as ``overlap_add`` takes.

        Args:
            noisy: Spectra of the noisy frames.
            variance: Noise variance of each block, (T, B).
            pilot: Spectra of the pilot.
            windows: Blocks in time.
        """
        B = variance.shape[1]
        real, imaginary, weight = (torch.zeros_like(part) for part in noisy)
        for window in windows:
            coefficients, mean = self._coefficients(noisy, window, B)  # (2, t, C, F, B)
            noise_power = (window.means @ variance[window.frames])[:, None]  # (1, 1, B)
            if pilot is None:
                gain = _threshold_gain(_power(coefficients), _THRESHOLD**2 * noise_power)
            else:
                gain = _wiener_gain(_power(self._coefficients(pilot, window, B)[0]), _WIENER_LEVEL**2 * noise_power)
            block_weight = self._weight(gain)  # (C, B)
            coefficients *= gain
            coefficients[:, 0] += mean
            coefficients *= block_weight[:, None]
            flat = coefficients.view(2 * window.length, -1)
            real[window.outputs].addmm_(window.inverse[0], flat)
            imaginary[window.outputs].addmm_(window.inverse[1], flat)
            weight[window.outputs] += block_weight.flatten()
        return real, imaginary, weight

    def _coefficients(self, spectrum: Spectrum, window: TimeWindow, num_blocks: int) -> tuple[Tensor, Tensor]:
        """Return the DFT of blocks without their mean, (2, t, C, F, B), and that of the mean, (2, C, F, B).

        The mean is put aside, because the window spreads it over several frequencies, where it would hide the noise.
        """
        out = torch.mm(window.dft[0], spectrum.real[window.frames])
        out.addmm_(window.dft[1], spectrum.imaginary[window.frames])
        coefficients = out.view(2, window.length, -1, self.transform.num_frequencies, num_blocks)
        mean = (window.means @ spectrum.mean[window.frames]).view(-1, 1, num_blocks)  # (C, 1, B)
        mean = math.sqrt(window.length) * self.transform.window_spectrum.to(mean.dtype)[:, None, :, None] * mean
        coefficients[:, 0] -= mean
        return coefficients, mean

    def _weight(self, gain: Tensor) -> Tensor:
        """Return the weight of each block, (C, B): the inverse of the noise power that its gain (t, C, F, B) leaves."""
        num_coefficients = len(gain) * BLOCK_PX**2
        passed = self.transform.multiplicity.to(gain.dtype) @ gain.square().sum(dim=0)  # (C, B)
        return num_coefficients / (passed + _MIN_COEFFICIENTS)


def opponent_colours() -> Tensor:
    """Return the orthonormal matrix from RGB to brightness, red against blue, and green against both, (3, 3)."""
    rows = torch.tensor(((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0)), dtype=torch.float32)
    return rows / rows.norm(dim=1, keepdim=True)


def _bands(num_frames: int, channels: int, height: int, width: int) -> list[Span]:
    """Return the rows of the bands that are filtered one after another."""
    band = chunking.band_height(height, 4 * num_frames * channels * width, chunking.PRIOR_COPIES, REACH_PX)
    return [(top, min(top + band, height)) for top in range(0, height, band)]


def _power(coefficients: Tensor) -> Tensor:
    """Return the squared magnitude of coefficients (2, ...), real and imaginary."""
    return coefficients[0].square().addcmul_(coefficients[1], coefficients[1])


def _threshold_gain(power: Tensor, threshold: Tensor) -> Tensor:
    """Return 0 to 1: a smooth threshold, so that rounding errors change little; a hard one in the limit of powers."""
    ratio = (power / (threshold + _TINY)).clamp_(max=_MAX_RATIO)
    ratio = ratio.square().square().square()
    return ratio / (ratio + 1)


def _wiener_gain(power: Tensor, noise_power: Tensor) -> Tensor:
    """Return the gain of the Wiener filter for a signal of this power."""
    return power / (power + (noise_power + _TINY))
