"""SpyNet from nothing: one level on small residual flows, copied to all levels, then all of them together.

Trained from scratch in one piece, SpyNet settles on zero flow. One level alone learns, when its learning rate is small
and it sees the difference of the two frames; since it refines a flow that is off by a pixel or two whatever its scale,
the same weights then start every level. Targets come from moving photos, whose flow is exact.
"""

import logging
import math
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.photos import Exposure, MovingPhotos
from .losses import end_point_error, flow_loss

log = logging.getLogger(__name__)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet; SpyNet's input normalisation
DIFFERENCE_GAIN, FLOW_GAIN = 4.0, 0.2  # the level's input while it is trained alone: [ref, 4 (supp - ref), 0.2 flow]


def normalise(frames: Tensor) -> Tensor:
    """Shift and scale RGB frames (N, 3, H, W) as SpyNet does."""
    return (frames - frames.new_tensor(MEAN).view(3, 1, 1)) / frames.new_tensor(STD).view(3, 1, 1)


def backwarp(x: Tensor, flow: Tensor) -> Tensor:
    """Read ``x`` (N, C, H, W) where ``flow`` (N, 2, H, W) points; the nearest pixel outside."""
    H, W = x.shape[-2:]
    rows = torch.arange(H)[:, None] + flow[:, 1]
    columns = torch.arange(W) + flow[:, 0]
    where = torch.stack((columns * (2 / (W - 1)) - 1, rows * (2 / (H - 1)) - 1), dim=-1)
    return F.grid_sample(x, where, padding_mode="border", align_corners=True)


def draw_pairs(
    photos: MovingPhotos, rng: np.random.Generator, count: int, size_px: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw frame pairs: a and b, (N, 3, H, W) each, and flow_a_to_b (N, 2, H, W)."""
    drawn = [photos.draw(rng, 2, size_px) for _ in range(count)]
    a, b = (torch.stack([clip[i] for clip, _, _ in drawn]) for i in range(2))
    return a, b, torch.cat([to_next for _, to_next, _ in drawn])


def add_mixed_noise(rng: np.random.Generator, frames: Tensor, most_255: float) -> Tensor:
    """Leave a third of the frames (N, 3, H, W) clean; add noise of up to ``most_255`` to the others."""
    levels = rng.uniform(0, most_255, len(frames)) * (rng.random(len(frames)) > 1 / 3) / 255
    noise = torch.from_numpy(rng.standard_normal(tuple(frames.shape), dtype=np.float32))
    return frames + noise * torch.from_numpy(levels.astype(np.float32)).view(-1, 1, 1, 1)


def draw_residual_problem(
    photos: MovingPhotos, rng: np.random.Generator, count: int, size_px: int
) -> tuple[Tensor, Tensor]:
    """Draw what one level sees and should answer.

    Returns:
        [ref, 4 (warped supp - ref), 0.2 flow so far], (N, 8, H, W), and the residual flow, (N, 2, H, W).
    """
    a, b, flow = draw_pairs(photos, rng, count, size_px)
    coarse = F.interpolate(F.avg_pool2d(flow, 2), scale_factor=2, mode="bilinear", align_corners=True)
    cells = torch.from_numpy(rng.uniform(-2.5, 2.5, (count, 2, 3, 3)).astype(np.float32))
    error = F.interpolate(cells, size=(size_px, size_px), mode="bilinear", align_corners=True)
    strength = rng.uniform(0.2, 1, count) * (rng.random(count) > 0.15)
    start = coarse + error * torch.from_numpy(strength.astype(np.float32)).view(-1, 1, 1, 1)
    from_zero = torch.from_numpy(rng.random(count) < 0.2) & (flow.abs().amax(dim=(1, 2, 3)) < 3)
    start = torch.where(from_zero.view(-1, 1, 1, 1), torch.zeros_like(start), start)
    noise_255 = 50 / 2 ** rng.integers(0, 4)  # coarser levels average the noise away
    a, b = normalise(add_mixed_noise(rng, a, noise_255)), normalise(add_mixed_noise(rng, b, noise_255))
    difference = DIFFERENCE_GAIN * (backwarp(b, start) - a)
    return torch.cat((a, difference, FLOW_GAIN * start), dim=1), flow - start


def fold_gains(level: nn.Module) -> None:
    """Rewrite the first convolution so that the level reads SpyNet's own input, [ref, warped supp, flow so far]."""
    weight = next(iter(level.parameters()))
    with torch.no_grad():
        difference = DIFFERENCE_GAIN * weight[:, 3:6]
        weight[:, :3] -= difference
        weight[:, 3:6] = difference
        weight[:, 6:] *= FLOW_GAIN


def anneal(step: int, steps: int, peak: float) -> float:
    """Learning rate: 50 steps of warm-up, then a half cosine to 2 %."""
    return peak * min(1.0, (step + 1) / 50) * (0.51 + 0.49 * math.cos(math.pi * step / steps))


def _descend(
    name: str, parameters: list[nn.Parameter], loss_of: Callable[[], tuple[Tensor, Tensor]], steps: int, peak: float
) -> None:
    """Run AdamW on ``loss_of``, which returns the loss and the loss of zero flow; log both."""
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.99), weight_decay=1e-4)
    start, ours, zero = time.monotonic(), 0.0, 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = anneal(step, steps, peak)
        loss, baseline = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        ours, zero = ours + float(loss.detach()), zero + float(baseline)
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - start
            log.info(
                "%s: step %d, error %.3f px, zero flow %.3f px, %.0f s", name, step + 1, ours / 50, zero / 50, seconds
            )
            ours = zero = 0.0


def pretrain(
    spynet: nn.Module, photos: MovingPhotos, *, level_steps: int, joint_steps: int, seed: int = 0, size_px: int = 64
) -> None:
    """Train ``spynet`` in place.

    Args:
        spynet: ``network.spynet``: maps two frame batches to flows at levels 0-3; six equal levels in `basic_module`.
        photos: Source of pairs with exact flow.
        level_steps: Steps of the single level, 8 pairs each.
        joint_steps: Steps of all levels together, 4 pairs of twice the size each.
        seed: Of weights and data.
        size_px: Side of a pair for the single level, a multiple of 32.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    levels = list(spynet.get_submodule("basic_module").children())
    level = levels[-1]
    with torch.no_grad():
        kernels = [parameter for parameter in level.parameters() if parameter.ndim == 4]
        for kernel in kernels:
            nn.init.kaiming_normal_(kernel, nonlinearity="relu", generator=generator)
        kernels[-1].mul_(0.1)

    def level_loss() -> tuple[Tensor, Tensor]:
        seen, residual = draw_residual_problem(photos, rng, 8, size_px)
        zero = end_point_error(torch.zeros_like(residual), residual)
        return end_point_error(level(seen), residual).mean(), zero.mean()

    _descend("one level", list(level.parameters()), level_loss, level_steps, 5e-4)
    fold_gains(level)
    for other in levels:
        other.load_state_dict(level.state_dict())

    def joint_loss() -> tuple[Tensor, Tensor]:
        a, b, flow = draw_pairs(photos, rng, 4, 2 * size_px)
        most_255 = 50 * rng.random()
        levels = spynet(add_mixed_noise(rng, a, most_255), add_mixed_noise(rng, b, most_255))
        zero = [flow.new_zeros(x.shape) for x in levels]
        return flow_loss(levels, flow), flow_loss(zero, flow)

    _descend("all levels", list(spynet.parameters()), joint_loss, joint_steps, 2e-4)


def refine_between(
    spynet: nn.Module, photos: MovingPhotos, *, steps: int, seed: int = 0, pairs: int = 4, size_px: int = 128
) -> None:
    """Train a SpyNet that knows flow already, in place, to find displacements on the grid of the moment in between.

    Args:
        spynet: ``network.spynet``.
        photos: Source of clips with exact flow; they move up to twice as far as for restoration.
        steps: Steps of AdamW.
        seed: Of the data.
        pairs: Pairs of a step.
        size_px: Side of a frame.
    """
    rng = np.random.default_rng([seed, 1])
    exposure = Exposure(speed_px=(0.2, 10.0))

    def loss_of() -> tuple[Tensor, Tensor]:
        drawn = [photos.draw(rng, 3, size_px, exposure=exposure) for _ in range(pairs)]
        a, b = (torch.stack([clip[i] for clip, _, _ in drawn]) for i in (0, 2))
        target = torch.stack([backward[1] - forward[0] for _, backward, forward in drawn])
        levels = spynet.levels(a, b, between=True)[:1:-1]  # pyright: ignore[reportCallIssue]
        zero = [target.new_zeros(x.shape) for x in levels]
        return flow_loss(levels, target, cap_px=40.0), flow_loss(zero, target, cap_px=40.0)

    _descend("between", list(spynet.parameters()), loss_of, steps, 3e-4)


def refine_blurred(
    spynet: nn.Module,
    photos: MovingPhotos,
    *,
    steps: int,
    shutter: tuple[float, float],
    speed_px: tuple[float, float],
    seed: int = 0,
    pairs: int = 4,
    size_px: int = 128,
) -> None:
    """Train a SpyNet that knows flow already, in place, on fast frames that an open shutter blurs.

    Args:
        spynet: ``network.spynet``.
        photos: Source of clips with exact flow.
        steps: Steps of AdamW.
        shutter: Least and most time that the shutter is open, in frames.
        speed_px: Least and most motion between frames, in pixels.
        seed: Of the data.
        pairs: Pairs of a step.
        size_px: Side of a frame.
    """
    rng = np.random.default_rng([seed, 2])

    def draw() -> tuple[Tensor, Tensor]:
        """Two frames, and the flows from each to the other."""
        exposure = Exposure(subframes=7, shutter=float(rng.uniform(*shutter)), speed_px=speed_px)
        clip, to_next, to_previous = photos.draw(rng, 2, size_px, exposure=exposure)
        return clip.unflatten(0, (2, 7)).mean(dim=1), torch.cat((to_next, to_previous))

    def loss_of() -> tuple[Tensor, Tensor]:
        drawn = [draw() for _ in range(pairs)]
        frames, target = torch.stack([f for f, _ in drawn]), torch.cat([flow for _, flow in drawn])
        levels = spynet(frames.flatten(0, 1), frames.flip(1).flatten(0, 1))
        zero = [target.new_zeros(x.shape) for x in levels]
        return flow_loss(levels, target, cap_px=40.0), flow_loss(zero, target, cap_px=40.0)

    _descend("blurred", list(spynet.parameters()), loss_of, steps, 3e-4)
