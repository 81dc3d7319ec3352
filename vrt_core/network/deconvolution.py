"""Frames deconvolved along the motion, for networks that deblur; not part of the paper.

An open shutter spreads every point along its path: to first order, a box filter in the direction of the motion v
(pixels a frame), as long as the share of the frame time that the shutter is open. In units of v the inverse of that box
is one and the same row of weights for every motion. Samples read along the flow, weighted by it, undo the blur wherever
flow and shutter are right; the network sees a few such guesses, and learns which to believe.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .chunks import items_at_a_time
from .flow import CUBIC, flow_targets, sample

_STEP, _NUM_STEPS = 0.1, 20  # where along the motion samples are read, in frames: every tenth, up to two either way
_ITERATIONS = (4, 15)  # a careful guess and a bold one for each shutter


class MotionDeconvolution(nn.Module):
    """Guesses of the sharp frames: learned weights of samples along the motion, at first the inverse of the blur."""

    def __init__(self, shutters: Sequence[float]) -> None:
        """Begin with two guesses for each time that the shutter may be open, in frames."""
        super().__init__()
        rows = [inverse_of_box(shutter, iterations) for shutter in shutters for iterations in _ITERATIONS]
        self.weight = nn.Parameter(torch.stack(rows))
        self.num_guesses = len(rows)

    def forward(self, clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
        """Return what each guess adds to the frames, (N, T, num_guesses * C, H, W) float32.

        Args:
            clip: Blurred frames, (N, T, C, H, W) float32, T >= 2.
            backward: flow(t, t+1), (N, T-1, 2, H, W), pixels.
            forward: flow(t+1, t), likewise.
        """
        frames = clip.flatten(0, 1)
        motion = motion_of_frames(backward, forward).flatten(0, 1)
        num_samples = self.weight.shape[1]
        sample_bytes = (clip.shape[2] + 4) * frames[0, 0].numel() * frames.element_size()
        step = items_at_a_time(num_samples * sample_bytes, clip.device)
        guesses = [self._guess(frames[i : i + step], motion[i : i + step]) for i in range(0, len(frames), step)]
        return torch.cat(guesses).unflatten(0, clip.shape[:2])

    def _guess(self, frames: Tensor, motion: Tensor) -> Tensor:
        H, W = frames.shape[-2:]
        columns, rows = flow_targets(torch.zeros_like(motion))
        steps = torch.arange(-_NUM_STEPS, _NUM_STEPS + 1, device=frames.device, dtype=frames.dtype)
        times = _STEP * steps.view(1, -1, 1, 1)
        x_px = columns[:, None] + times * motion[:, :1]  # (N, samples, H, W)
        y_px = rows[:, None] + times * motion[:, 1:]
        samples = sample(frames, x_px.flatten(1, 2), y_px.flatten(1, 2), "border", CUBIC)
        samples = samples.view(*frames.shape[:2], -1, H * W)
        dtype = torch.promote_types(samples.dtype, self.weight.dtype)
        guesses = (self.weight.to(dtype) @ samples.to(dtype)).unflatten(3, (H, W))  # (N, C, guesses, H, W)
        return (guesses.transpose(1, 2) - frames[:, None]).flatten(1, 2)


def motion_of_frames(backward: Tensor, forward: Tensor) -> Tensor:
    """Return the motion at the time of each frame, (N, T, 2, H, W) in pixels a frame, from flows to its neighbours.

    The first and last frame have one neighbour each; the others take the mean of both sides.
    """
    ahead = torch.cat((backward, -forward[:, -1:]), dim=1)
    behind = torch.cat((-backward[:, :1], forward), dim=1)
    return (ahead - behind) / 2


def inverse_of_box(shutter: float, iterations: int) -> Tensor:
    """Return weights, one for each sample along the motion, that undo a box filter as long as ``shutter`` frames.

    Landweber iterations (Landweber, Amer. J. Math. 73, 1951) towards weights that the box turns into a single point:
    few leave what the box nearly takes away, and the noise in it, as it is. The weights add up to 1.
    """
    reach = 2 * _NUM_STEPS  # of what the box makes of the weights
    places = torch.arange(-reach, reach + 1, dtype=torch.float64) * _STEP
    samples = places[reach - _NUM_STEPS : reach + _NUM_STEPS + 1]
    overlap = (shutter / 2 + _STEP / 2 - (places[:, None] - samples).abs()) / _STEP
    box = overlap.clamp(0, 1) / overlap.clamp(0, 1).sum(dim=0)
    point, weights = (places == 0).double(), (samples == 0).double()
    for _ in range(iterations):
        weights = weights + box.T @ (point - box @ weights)
    return (weights / weights.sum()).float()
