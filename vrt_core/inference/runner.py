"""Runners: one network over the windows of a clip."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..analysis.noise import estimate_sigma
from ..errors import InputError
from ..models.cards import ModelCard
from ..options import check_count
from .blending import WeightedFrame
from .padding import FrameSize, pad_frames, padded_frame_size
from .progress import RunContext
from .strength import FULL_STRENGTH, Strength
from .tile_executor import TileExecutor
from .tile_plan import TileSize
from .validation import append_noise_level
from .window_plan import CrossfadePlan, InterpolationPlan, StreamablePlan, Window, check_window

_log = logging.getLogger(__name__)

INTERPOLATION_FRAMES = 4
"""Frames from which an interpolation network computes the one in the middle."""


class ModelRunner(ABC):
    """One network with its card; plans and runs the windows of a clip."""

    frame_factor: int
    """Output frames per input frame."""
    window_frames: int
    """Frames of a whole window."""
    overlap_frames: int
    """Frames that two windows share."""

    @property
    def stride_frames(self) -> int:
        """Input frames from one window to the next."""
        return self.window_frames - self.overlap_frames

    def __init__(self, card: ModelCard, executor: TileExecutor) -> None:
        """Check that card and network fit each other.

        Raises:
            InputError: If they do not.
        """
        self.card, self.network, self._executor = card, executor.network, executor
        self.name = card.name
        self.scale = self.network.config.upscale
        self.needs_sigma = self.network.config.nonblind_denoising
        self.device, self.dtype = executor.device, executor.dtype
        if self.scale != card.scale:
            raise InputError(f"model {card.name} has scale {card.scale}, but its network enlarges x{self.scale}")
        if self.needs_sigma != (card.task == "denoise"):
            takes = "takes a noise level" if self.needs_sigma else "takes no noise level"
            raise InputError(f"model {card.name} is for the task {card.task!r}, but its network {takes}")

    @abstractmethod
    def make_plan(self, num_frames: int, cuts: Sequence[int], num_held_frames: int = 1) -> StreamablePlan:
        """Return the windows of a clip.

        Args:
            num_frames: Length of the clip.
            cuts: First frames of scenes, sorted.
            num_held_frames: Equal frames at the end of every scene: 2 if the clip is itself interpolated, and so on.
        """

    @abstractmethod
    def run_window(self, window: Window, frames: Tensor, context: RunContext) -> list[WeightedFrame]:
        """Restore the frames (T, C, H, W) of one window, validated before."""

    def stream_cache_bytes(self, height: int, width: int) -> int:
        """Return the bytes of all results that a window shares with the next one."""
        return 0

    def estimate_bytes(self, num_frames: int, height: int, width: int) -> int:
        """Return the peak memory on the device for such a clip, in bytes, with its tiles but without weights."""
        check_count("num_frames", num_frames, 1)
        return self._executor.estimate_bytes(num_frames, self.padded_size(height, width))

    def tile_size(self, height: int, width: int) -> TileSize:
        """Return the tile size (height, width), in pixels, for frames of this size."""
        return self._executor.tiling(self.padded_size(height, width)).tile

    def use_tile(self, height: int, width: int, size: TileSize) -> None:
        """Set the tile size (height, width), in pixels, for frames of this size, until memory runs out."""
        self._executor.use_tile(self.padded_size(height, width), size)

    def num_tiles(self, height: int, width: int) -> int:
        """Return the number of tiles of a frame of this size."""
        return len(self._executor.tiling(self.padded_size(height, width)))

    def padded_size(self, height: int, width: int) -> FrameSize:
        """Return (height, width) of frames as the network reads them, in pixels."""
        check_count("height", height, 1, "px")
        check_count("width", width, 1, "px")
        return padded_frame_size(height, width, self.network.size_multiple_px, self.network.min_size_px)

    def _pad(self, frames: Tensor) -> Tensor:
        return pad_frames(frames, self.network.size_multiple_px, self.network.min_size_px)


class FrameRestorer(ModelRunner):
    """A network that restores every frame of its input: denoises, deblurs, enlarges."""

    frame_factor = 1

    def __init__(
        self,
        card: ModelCard,
        executor: TileExecutor,
        *,
        window_frames: int,
        overlap_frames: int,
        strength: Strength = FULL_STRENGTH,
    ) -> None:
        """Take a network that is on its device.

        Args:
            card: Card of the model.
            executor: Runs the network.
            window_frames: Frames that the network sees together.
            overlap_frames: Frames that two windows share.
            strength: How restored frames are mixed with those read.
        """
        super().__init__(card, executor)
        check_window(window_frames, overlap_frames)
        self.window_frames, self.overlap_frames, self._strength = window_frames, overlap_frames, strength

    def make_plan(self, num_frames: int, cuts: Sequence[int], num_held_frames: int = 1) -> StreamablePlan:
        """Return the windows of a clip; the last may be short, but not shorter than the attention window."""
        min_frames = self.network.config.window_size[0]
        return CrossfadePlan(num_frames, self.window_frames, self.overlap_frames, cuts, min_frames=min_frames)

    def run_window(self, window: Window, frames: Tensor, context: RunContext) -> list[WeightedFrame]:
        """Restore one window, segment by segment."""
        size = frames.shape[-2], frames.shape[-1]
        weights = dict(window.output_weights)
        parts = []
        for segment in window.segments:
            inputs = frames[segment.start - window.start : segment.stop - window.start]
            clip = self._pad(append_noise_level(inputs, self._noise_level(inputs, segment, context)))
            clip = self._executor.append_prior(clip, context)
            frames_read = segment if self.network.config.prior_step_px else None  # a prior depends on all of these
            flows = []
            for n, first, second in zip(segment, clip, clip[1:], strict=False) if self.network.uses_flows else ():
                context.raise_if_cancelled()
                compute = partial(self._executor.flows_between, first, second)
                flows.append(context.cached(("flows", n, size, frames_read), compute))
            numbers = [n for n in segment if n in weights]
            computed = segment if self.network.config.group_passes else numbers  # groups are of all frames
            outputs = [n - segment.start for n in computed]
            restored = self._executor.run(clip, flows, outputs, context, numbers=computed, size=size)
            restored = self._executor.filter_groups(clip, restored, context)
            for n, frame in zip(computed, restored, strict=True):
                if n not in weights:
                    continue
                mixed = self._strength.mix(frame, frames[n - window.start, :3])
                parts.append(WeightedFrame(n, weights[n], mixed))
        return parts

    def stream_cache_bytes(self, height: int, width: int) -> int:
        """Return the bytes of the flows of a window."""
        if not self.network.uses_flows:
            return 0
        height, width = self.padded_size(height, width)
        pair_bytes = sum(2 * 2 * 4 * (height >> i) * (width >> i) for i in range(4))
        return (self.window_frames - 1) * pair_bytes

    def _noise_level(self, frames: Tensor, segment: range, context: RunContext) -> float | None:
        """Return the noise level of the frames of a segment, in 8-bit units; None if the network needs none."""
        if not self.needs_sigma:
            return None
        if context.sigma_255 != "auto":
            return context.sigma_255
        sigma_255 = estimate_sigma(frames, coloured=bool(self.network.config.prior_step_px))
        _log.info("model %s: sigma %.1f estimated for frames %d to %d", self.name, sigma_255, segment[0], segment[-1])
        return sigma_255


class FrameInterpolator(ModelRunner):
    """A network that computes the frame between two: twice the frames, the source frames among them unchanged."""

    frame_factor = 2
    window_frames, overlap_frames = INTERPOLATION_FRAMES, INTERPOLATION_FRAMES - 1

    def make_plan(self, num_frames: int, cuts: Sequence[int], num_held_frames: int = 1) -> StreamablePlan:
        """Return the windows of a clip, one for each source frame."""
        return InterpolationPlan(num_frames, cuts, num_held_frames)

    def run_window(self, window: Window, frames: Tensor, context: RunContext) -> list[WeightedFrame]:
        """Return source frame k and the frame between k and k + 1; frame k again where it is held."""
        k = window.index - window.start
        next_half = frames[k].clone()
        if window.segments:
            indices = torch.arange(k - 1, k + 3).clamp(0, len(frames) - 1)  # a missing outer frame repeats the inner
            clip = self._pad(frames[indices.to(frames.device)])  # (4, C, H, W)
            size = frames.shape[-2], frames.shape[-1]
            (next_half,) = self._executor.run(clip, (), [0], context, numbers=[2 * window.index + 1], size=size)
        return [
            WeightedFrame(2 * window.index, 1.0, frames[k].clone()),
            WeightedFrame(2 * window.index + 1, 1.0, next_half),
        ]
