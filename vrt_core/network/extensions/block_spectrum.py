"""Windowed DFT of overlapping blocks of frames, and its overlap-added inverse; not part of the paper.

In space the DFT of all blocks is a strided convolution with a cosine and a sine filter for each frequency; the inverse
is the transposed convolution. In time it is a product with a small matrix, so each frame is transformed once for all
blocks in time that it belongs to. The transform is orthonormal: white noise has the same level in every coefficient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..padding import mirror_pad

BLOCK_PX, BLOCK_FRAMES = 12, 5


class Spectrum(NamedTuple):
    """Spatial spectra of the blocks of each frame."""

    real: Tensor
    """(T, C * F * B): channels, frequencies, blocks."""
    imaginary: Tensor
    """(T, C * F * B)."""
    mean: Tensor
    """Mean of each block, weighted by the squared window, (T, C * B)."""


class TimeWindow(NamedTuple):
    """Frames of the blocks at one position in time, and the DFT over them."""

    frames: slice
    """Frames that are read. Frames beyond the ends of the clip repeat these, mirrored."""
    dft: tuple[Tensor, Tensor]
    """Real, then imaginary output, of real and of imaginary input: (2 * length, frames) each."""
    means: Tensor
    """Weights of a mean over the window, (1, frames)."""
    outputs: slice
    """Frames that the inverse adds to: those within the clip."""
    inverse: tuple[Tensor, Tensor]
    """Real and imaginary output of real, then imaginary input: (outputs, 2 * length) each."""

    @property
    def length(self) -> int:
        """Length of the window in frames."""
        return len(self.dft[0]) // 2


class BlockTransform(nn.Module):
    """Spatial DFT of blocks of 12x12 px, under a sine window, on a regular grid."""

    analysis: Tensor
    synthesis: Tensor
    window_power: Tensor
    window_spectrum: Tensor
    multiplicity: Tensor

    def __init__(self, step_px: int) -> None:
        """Place the corners of blocks ``step_px`` apart along either axis."""
        super().__init__()
        self.step_px = step_px
        for name, value in _filters()._asdict().items():
            self.register_buffer(name, value.to(torch.float32), persistent=False)

    @property
    def num_frequencies(self) -> int:
        """Frequencies of a half space; the others are conjugates of these."""
        return len(self.multiplicity)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of blocks that cover a frame; those at its borders reach beyond it."""
        overlap = BLOCK_PX - self.step_px
        return -(-(height + overlap) // self.step_px), -(-(width + overlap) // self.step_px)

    def pad(self, frames: Tensor) -> Tensor:
        """Mirror frames (T, C, H, W), the edge pixel repeated, to the size that the grid covers."""
        before = BLOCK_PX - self.step_px
        for dim, count in zip((2, 3), self.grid(*frames.shape[2:]), strict=True):
            flipped = mirror_pad(frames.flip(dim), dim, frames.shape[dim] + before)
            frames = mirror_pad(flipped.flip(dim), dim, self._reach(count))
        return frames

    def crop(self, frames: Tensor, height: int, width: int) -> Tensor:
        """Undo ``pad``."""
        start = BLOCK_PX - self.step_px
        return frames[:, :, start : start + height, start : start + width]

    def region(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, slice]:
        """Return the pixels of padded frames that some rows and columns of blocks cover."""
        first, last = (slice(i * self.step_px, i * self.step_px + self._reach(j - i)) for i, j in (rows, columns))
        return first, last

    def spectrum(self, frames: Tensor) -> Spectrum:
        """Transform all blocks of frames (T, C, h, w)."""
        T, C = frames.shape[:2]
        filters = self.analysis.to(frames.dtype)
        out = F.conv2d(frames.flatten(0, 1)[:, None], filters, stride=self.step_px)  # (T * C, 2 * F + 1, h', w')
        real, imaginary, mean = (
            part.reshape(T, -1)
            for part in out.unflatten(0, (T, C)).split((self.num_frequencies, self.num_frequencies, 1), dim=2)
        )
        return Spectrum(real, imaginary, mean)

    def block_means(self, frames: Tensor) -> Tensor:
        """Return the mean of each block of frames (T, 1, h, w), (T, B)."""
        return F.avg_pool2d(frames, BLOCK_PX, self.step_px).flatten(1)

    def overlap_add(
        self, real: Tensor, imaginary: Tensor, weight: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the blocks of T frames, and the sum of the weights, (T, C, h, w) each.

        Args:
            real: Spectra, already multiplied by the weight of their block, (T, C * F * B).
            imaginary: (T, C * F * B).
            weight: (T, C * B).
            size: Rows and columns of blocks.
        """
        T = len(real)
        spectra = [part.view(-1, self.num_frequencies, *size) for part in (real, imaginary)]  # (T * C, F, h', w')
        synthesis, power = self.synthesis.to(real.dtype), self.window_power.to(real.dtype)
        total = F.conv_transpose2d(torch.cat(spectra, dim=1), synthesis, stride=self.step_px)
        weights = F.conv_transpose2d(weight.view(-1, 1, *size), power, stride=self.step_px)
        return total[:, 0].unflatten(0, (T, -1)), weights[:, 0].unflatten(0, (T, -1))

    def _reach(self, count: int) -> int:
        """Return the pixels that ``count`` blocks in a row cover."""
        return (count - 1) * self.step_px + BLOCK_PX


class _Filters(NamedTuple):
    analysis: Tensor
    """(2 * F + 1, 1, 12, 12): cosines, sines, and the mean."""
    synthesis: Tensor
    """(2 * F, 1, 12, 12)."""
    window_power: Tensor
    """Squared window, (1, 1, 12, 12)."""
    window_spectrum: Tensor
    """Spectrum of a block of ones, real and imaginary, (2, F)."""
    multiplicity: Tensor
    """How many of the coefficients of a full DFT each frequency stands for: 1 or 2, (F,)."""


def _filters() -> _Filters:
    n = torch.arange(BLOCK_PX, dtype=torch.float64)
    half = BLOCK_PX // 2
    frequencies = torch.tensor(
        [(v, u) for u in range(half + 1) for v in (range(BLOCK_PX) if 0 < u < half else range(half + 1))]
    )
    sine = torch.sin(math.pi * (n + 0.5) / BLOCK_PX)
    window = sine[:, None] * sine
    window = window / window.square().mean().sqrt()
    v, u = frequencies.double().view(-1, 2, 1, 1).unbind(1)
    phase = 2 * math.pi / BLOCK_PX * (v * n[:, None] + u * n)  # (F, 12, 12)
    waves = torch.stack((phase.cos(), -phase.sin())) * window / BLOCK_PX  # (2, F, 12, 12)
    multiplicity = torch.where((frequencies % half == 0).all(dim=1), 1.0, 2.0).double()
    power = window.square()
    analysis = torch.cat((waves.flatten(0, 1), power[None] / BLOCK_PX**2))
    synthesis = (multiplicity[:, None, None] * waves).flatten(0, 1)
    return _Filters(analysis[:, None], synthesis[:, None], power[None, None], waves.sum(dim=(2, 3)), multiplicity)


def time_windows(num_frames: int, like: Tensor) -> list[TimeWindow]:
    """Return the blocks in time of a clip; the first and the last ones reach beyond its ends.

    A mirrored frame repeats the noise of its original, which then passes for signal. So clips below five frames have
    shorter blocks, and those of one or two frames a single block.

    Args:
        num_frames: T, at least 1.
        like: Tensor that gives device and dtype.
    """
    length = {1: 1, 2: 2, 3: 3, 4: 3}.get(num_frames, BLOCK_FRAMES)
    firsts = range(1 - length, num_frames) if length > 2 else range(1)
    return [_time_window(first, length, num_frames, like) for first in firsts]


def _time_window(first: int, length: int, num_frames: int, like: Tensor) -> TimeWindow:
    sources = [_mirror(n, num_frames) for n in range(first, first + length)]
    frames = range(min(sources), max(sources) + 1)
    mirrored = torch.arange(first, first + length, device=like.device) % (2 * num_frames)
    mirrored = torch.minimum(mirrored, 2 * num_frames - 1 - mirrored)
    copies = mirrored[:, None] == torch.arange(frames.start, frames.stop, device=like.device)
    copies = copies.to(like.dtype)  # (length, frames)
    cosine, sine = _dft(length, like)
    real_input, imaginary_input = torch.cat((cosine, -sine)), torch.cat((sine, cosine))
    outputs = slice(max(first, 0), min(first + length, num_frames))
    inside = slice(outputs.start - first, outputs.stop - first)
    return TimeWindow(
        slice(frames.start, frames.stop),
        (real_input @ copies, imaginary_input @ copies),
        copies.mean(dim=0, keepdim=True),
        outputs,
        (real_input.T[inside], imaginary_input.T[inside]),
    )


def _dft(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of the orthonormal DFT, (length, length) each."""
    n = torch.arange(length, device=like.device)
    phase = 2 * math.pi / length * (n[:, None] * n % length).to(like.dtype)
    return phase.cos() / math.sqrt(length), phase.sin() / math.sqrt(length)


def _mirror(n: int, num_frames: int) -> int:
    """Return the frame that stands for one beyond the ends of a clip: mirrored, the frame at the end repeated."""
    n %= 2 * num_frames
    return min(n, 2 * num_frames - 1 - n)
