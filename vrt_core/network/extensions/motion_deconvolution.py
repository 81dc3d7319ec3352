"""Deconvolution of frames along the motion, for deblurring networks; not part of the paper.

An open shutter blurs every point along its path: to first order by a box filter in the direction of the motion v
(pixels a frame), as long as the exposure time in frames. In units of v the inverse of that box is the same 1-D filter
for every motion: samples along the flow, weighted by the filter, remove the blur wherever flow and exposure time are
right.

The exposure time shows in the samples themselves: the two edges of the box leave the same change with opposite sign, so
changes one box length apart are negatively correlated (Yitzhaky & Kopeika, Graph. Models Image Process. 59, 1997).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flow import BICUBIC, backwarp, flow_targets, sample
from ..ops import chunking

_STEP, _NUM_STEPS = 0.1, 20  # spacing of the samples along the motion, in frames; samples on either side
_ITERATIONS = (4, 15)  # of the Landweber inverse: a cautious and a strong filter for each exposure time
_LAGS = range(2, 13)  # of the autocorrelation, in samples
_NEAR_PX, _AROUND_PX = 9, 33  # windows in which frames, and changes along the motion, are compared
_HIDDEN_CHANNELS, _TINY = 24, 1e-6
_GAIN, _KEEP_LOGIT = 10.0, 0.3  # of the blend: it must learn faster than network weights may; initially keep the frame


class MotionDeconvolution(nn.Module):
    """Predicts sharp frames with 1-D deconvolution filters along the motion and blends them per pixel.

    The filters start as Landweber inverses of a box blur.
    """

    def __init__(self, shutters: Sequence[float]) -> None:
        """Create two filters for each exposure time, in frames."""
        super().__init__()
        rows = [inverse_of_box(shutter, iterations) for shutter in shutters for iterations in _ITERATIONS]
        self.weight = nn.Parameter(torch.stack(rows))
        self.num_estimates = len(rows)
        count = self.num_estimates + 1  # the last keeps the frame as it is
        self.hidden = nn.Conv2d(len(_LAGS) + 2, _HIDDEN_CHANNELS, 1, dtype=torch.float32)
        self.choice = nn.Conv2d(_HIDDEN_CHANNELS, count, 1, dtype=torch.float32)
        nn.init.zeros_(self.choice.weight)
        self.choice.bias = nn.Parameter(_KEEP_LOGIT * (torch.arange(count) == count - 1).float())

    def forward(self, clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
        """Return the residual of the blended estimate, then the residual of each estimate.

        Args:
            clip: Blurred frames, (N, T, C, H, W) float32, T >= 2.
            backward: flow(t, t+1), (N, T-1, 2, H, W), pixels.
            forward: flow(t+1, t), likewise.

        Returns:
            (N, T, (1 + num_estimates) * C, H, W) in float32, also in half precision networks.
        """
        N, T, C, H, W = clip.shape
        frames, motion = clip.flatten(0, 1), motion_of_frames(backward, forward).flatten(0, 1)  # (N * T, ...)
        confidence = flow_confidence(clip, backward, forward).flatten(0, 1)

        def estimate(start: int, stop: int) -> Tensor:
            return self._estimate(frames[start:stop], motion[start:stop], confidence[start:stop])

        frame_bytes = chunking.deconvolved_frame_bytes(C, self.weight.shape[1], H * W, frames.element_size())
        with torch.autocast(clip.device.type, enabled=False):
            residuals = chunking.map_chunks(estimate, N * T, frame_bytes, clip.device, dim=0)
        return residuals.unflatten(0, (N, T))

    def _estimate(self, frames: Tensor, motion: Tensor, confidence: Tensor) -> Tensor:
        """Return the residuals (N, (1 + num_estimates) * C, H, W) of frames (N, C, H, W)."""
        samples = sample_along(frames, motion).to(self.weight.dtype)  # (N, C, samples, H, W)
        H, W = frames.shape[-2:]
        estimates = (self.weight @ samples.flatten(3)).unflatten(3, (H, W)).transpose(1, 2)
        residuals = estimates - frames[:, None]  # (N, estimates, C, H, W)
        speed = motion.square().sum(dim=1, keepdim=True).log1p()
        cues = torch.cat((lag_autocorrelation(samples), confidence, speed), dim=1)  # (N, lags + 2, H, W)
        choice = (_GAIN * self.choice(F.gelu(self.hidden(cues)))).softmax(dim=1)  # (N, estimates + 1, H, W)
        blend = (choice[:, :-1, None] * residuals).sum(dim=1, keepdim=True)  # (N, 1, C, H, W)
        return torch.cat((blend, residuals), dim=1).flatten(1, 2)


def sample_along(frames: Tensor, motion: Tensor) -> Tensor:
    """Sample frames (N, C, H, W) along their motion (N, 2, H, W): (N, C, samples, H, W), centred on each pixel."""
    columns, rows = flow_targets(torch.zeros_like(motion))
    steps = torch.arange(-_NUM_STEPS, _NUM_STEPS + 1, device=frames.device, dtype=frames.dtype)
    times = _STEP * steps.view(1, -1, 1, 1)
    x_px = columns[:, None] + times * motion[:, :1]  # (N, samples, H, W)
    y_px = rows[:, None] + times * motion[:, 1:]
    samples = sample(frames, x_px.flatten(1, 2), y_px.flatten(1, 2), "border", BICUBIC)  # (N, C, samples * H, W)
    return samples.unflatten(2, (-1, frames.shape[2]))


def lag_autocorrelation(samples: Tensor) -> Tensor:
    """Return the local autocorrelation of changes along the motion, (N, lags, H, W), -1 to 1."""
    grey = samples.mean(dim=1)  # (N, samples, H, W)
    change = grey[:, 1:] - grey[:, :-1]
    count = change.shape[1]
    products = [(change[:, : count - lag] * change[:, lag:]).mean(dim=1) for lag in (0, *_LAGS)]
    local = box_mean(torch.stack(products, dim=1), _AROUND_PX)  # (N, 1 + lags, H, W)
    return local[:, 1:] / (local[:, :1] + _TINY)


def flow_confidence(clip: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
    """Return how much more similar neighbours are after warping, 0 to 1; 1/2 means no difference.

    Args:
        clip: (N, T, C, H, W).
        backward: flow(t, t+1), (N, T-1, 2, H, W).
        forward: flow(t+1, t), likewise.

    Returns:
        (N, T, 1, H, W), the mean of both neighbours where there are two.
    """
    N = clip.shape[0]
    frames, successors = clip[:, :-1].flatten(0, 1), clip[:, 1:].flatten(0, 1)  # (N * (T-1), C, H, W)

    def confidence(a: Tensor, b: Tensor, flow: Tensor) -> Tensor:
        moving, static = (
            box_mean((x - a).square().mean(dim=1, keepdim=True), _NEAR_PX)
            for x in (backwarp(b, flow.flatten(0, 1), "border"), b)
        )
        return ((static + _TINY) / (moving + static + 2 * _TINY)).unflatten(0, (N, -1))

    ahead, behind = confidence(frames, successors, backward), confidence(successors, frames, forward)
    return (torch.cat((ahead, behind[:, -1:]), dim=1) + torch.cat((ahead[:, :1], behind), dim=1)) / 2


def box_mean(x: Tensor, size_px: int) -> Tensor:
    """Average (N, C, H, W) over a square of odd side around each pixel, without what lies outside the image."""
    for kernel, padding in (((size_px, 1), (size_px // 2, 0)), ((1, size_px), (0, size_px // 2))):
        x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
    return x


def motion_of_frames(backward: Tensor, forward: Tensor) -> Tensor:
    """Return the motion at the time of each frame, (N, T, 2, H, W) in pixels a frame, from flows to its neighbours.

    The first and the last frame have one neighbour; the others take the mean of both.
    """
    ahead = torch.cat((backward, -forward[:, -1:]), dim=1)
    behind = torch.cat((-backward[:, :1], forward), dim=1)
    return (ahead - behind) / 2


def inverse_of_box(shutter: float, iterations: int) -> Tensor:
    """Return the filter, one weight for each sample along the motion, that inverts a box of ``shutter`` frames.

    Landweber iterations (Landweber, Amer. J. Math. 73, 1951) towards weights that the box turns into a single point.
    Few iterations amplify less of the noise at frequencies that the box nearly removes. The weights add up to 1.
    """
    reach = 2 * _NUM_STEPS  # of the filtered box
    places = torch.arange(-reach, reach + 1, dtype=torch.float64) * _STEP
    samples = places[reach - _NUM_STEPS : reach + _NUM_STEPS + 1]
    overlap = (shutter / 2 + _STEP / 2 - (places[:, None] - samples).abs()) / _STEP
    box = overlap.clamp(0, 1) / overlap.clamp(0, 1).sum(dim=0)
    point, weights = (places == 0).double(), (samples == 0).double()
    for _ in range(iterations):
        weights = weights + box.T @ (point - box @ weights)
    return (weights / weights.sum()).float()
