"""Frames deconvolved along the motion, for networks that deblur; not part of the paper.

An open shutter spreads every point along its path: to first order, a box filter in the direction of the motion v
(pixels a frame), as long as the share of the frame time that the shutter is open. In units of v the inverse of that box
is one and the same row of weights for every motion: samples read along the flow, weighted by it, undo the blur wherever
flow and shutter are right. What the shutter was shows in the samples themselves: both edges of the box leave the same
change, once with the other sign, so changes that lie one box apart are opposed (Yitzhaky & Kopeika, Graph. Models Image
Process. 59, 1997).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flow import CUBIC, backwarp, flow_targets, sample
from ..ops.chunking import items_at_a_time

_STEP, _NUM_STEPS = 0.1, 20  # where along the motion samples are read, in frames: every tenth, up to two either way
_ITERATIONS = (4, 15)  # a careful guess and a bold one for each shutter
_LAGS = range(2, 13)  # in steps: how far apart changes are compared
_NEAR_PX, _AROUND_PX = 9, 33  # windows in which frames, and changes along the motion, are compared
_HIDDEN_CHANNELS, _TINY = 24, 1e-6
_GAIN, _NO_GUESS = 10.0, 0.3  # of the choice: it must learn faster than the weights of a network may; at first, none


class MotionDeconvolution(nn.Module):
    """Guesses of the sharp frames, and which of them to believe where; the guesses begin as inverses of the blur."""

    def __init__(self, shutters: Sequence[float]) -> None:
        """Begin with two guesses for each time that the shutter may be open, in frames."""
        super().__init__()
        rows = [inverse_of_box(shutter, iterations) for shutter in shutters for iterations in _ITERATIONS]
        self.weight = nn.Parameter(torch.stack(rows))
        self.num_guesses = len(rows)
        count = self.num_guesses + 1  # the last is to leave the frame as it is
        self.hidden = nn.Conv2d(len(_LAGS) + 2, _HIDDEN_CHANNELS, 1, dtype=torch.float32)
        self.choice = nn.Conv2d(_HIDDEN_CHANNELS, count, 1, dtype=torch.float32)
        nn.init.zeros_(self.choice.weight)
        self.choice.bias = nn.Parameter(_NO_GUESS * (torch.arange(count) == count - 1).float())

    def forward(self, clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
        """Return what the chosen blend of guesses adds to the frames, then what each guess does.

        Args:
            clip: Blurred frames, (N, T, C, H, W) float32, T >= 2.
            backward: flow(t, t+1), (N, T-1, 2, H, W), pixels.
            forward: flow(t+1, t), likewise.

        Returns:
            (N, T, (1 + num_guesses) * C, H, W) in float32, whatever precision the network has.
        """
        frames, motion = clip.flatten(0, 1), motion_of_frames(backward, forward).flatten(0, 1)
        trust = trust_in_flow(clip, backward, forward).flatten(0, 1)
        sample_bytes = (clip.shape[2] + 6) * frames[0, 0].numel() * frames.element_size()
        step = items_at_a_time(self.weight.shape[1] * sample_bytes, clip.device)
        with torch.autocast(clip.device.type, enabled=False):
            parts = [
                self._guess(*(x[i : i + step] for x in (frames, motion, trust))) for i in range(0, len(frames), step)
            ]
        return torch.cat(parts).unflatten(0, clip.shape[:2])

    def _guess(self, frames: Tensor, motion: Tensor, trust: Tensor) -> Tensor:
        samples = sample_along(frames, motion).to(self.weight.dtype)  # (N, C, samples, H, W)
        H, W = frames.shape[-2:]
        guesses = (self.weight @ samples.flatten(3)).unflatten(3, (H, W)).transpose(1, 2)
        guesses = guesses - frames[:, None]  # (N, guesses, C, H, W)
        signs = torch.cat((opposition(samples), trust, motion.square().sum(dim=1, keepdim=True).log1p()), dim=1)
        choice = (_GAIN * self.choice(F.gelu(self.hidden(signs)))).softmax(dim=1)
        blend = (choice[:, :-1, None] * guesses).sum(dim=1, keepdim=True)
        return torch.cat((blend, guesses), dim=1).flatten(1, 2)


def sample_along(frames: Tensor, motion: Tensor) -> Tensor:
    """Read frames (N, C, H, W) along their motion (N, 2, H, W): (N, C, samples, H, W), the middle one in place."""
    columns, rows = flow_targets(torch.zeros_like(motion))
    steps = torch.arange(-_NUM_STEPS, _NUM_STEPS + 1, device=frames.device, dtype=frames.dtype)
    times = _STEP * steps.view(1, -1, 1, 1)
    x_px = columns[:, None] + times * motion[:, :1]  # (N, samples, H, W)
    y_px = rows[:, None] + times * motion[:, 1:]
    samples = sample(frames, x_px.flatten(1, 2), y_px.flatten(1, 2), "border", CUBIC)
    return samples.unflatten(2, (-1, frames.shape[2]))


def opposition(samples: Tensor) -> Tensor:
    """Return how changes along the motion go together at each lag, -1 to 1, (N, lags, H, W), around each pixel."""
    grey = samples.mean(dim=1)
    change = grey[:, 1:] - grey[:, :-1]
    count = change.shape[1]
    products = [(change[:, : count - lag] * change[:, lag:]).mean(dim=1) for lag in (0, *_LAGS)]
    around = mean_around(torch.stack(products, dim=1), _AROUND_PX)
    return around[:, 1:] / (around[:, :1] + _TINY)


def trust_in_flow(clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
    """Return how much more alike neighbours are when they are warped, 0 to 1 with 1/2 for no difference.

    Args:
        clip: (N, T, C, H, W).
        backward: flow(t, t+1), (N, T-1, 2, H, W).
        forward: flow(t+1, t), likewise.

    Returns:
        (N, T, 1, H, W), the mean of both sides where there are two.
    """
    N = clip.shape[0]
    these, those = clip[:, :-1].flatten(0, 1), clip[:, 1:].flatten(0, 1)

    def trust(a: Tensor, b: Tensor, flow: Tensor) -> Tensor:
        moved, still = (
            mean_around((x - a).square().mean(dim=1, keepdim=True), _NEAR_PX)
            for x in (backwarp(b, flow.flatten(0, 1), "border"), b)
        )
        return ((still + _TINY) / (moved + still + 2 * _TINY)).unflatten(0, (N, -1))

    ahead, behind = trust(these, those, backward), trust(those, these, forward)
    return (torch.cat((ahead, behind[:, -1:]), dim=1) + torch.cat((ahead[:, :1], behind), dim=1)) / 2


def mean_around(x: Tensor, size_px: int) -> Tensor:
    """Average (N, C, H, W) over a square of this odd side around each pixel; what lies outside is not counted."""
    for kernel, padding in (((size_px, 1), (size_px // 2, 0)), ((1, size_px), (0, size_px // 2))):
        x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
    return x


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
