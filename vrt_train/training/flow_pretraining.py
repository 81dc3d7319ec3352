"""Pre-training of SpyNet on moving photos, whose flow is exact.

From scratch: one level is trained on small residual flows, copied to all levels, then all levels are trained together.
Trained together from random weights, all levels converge to zero flow. A single level does learn if its learning rate
is small and its input is the difference of the two frames. At every scale a level corrects errors of a pixel or two, so
the same weights are a good start for all levels.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrt_core.network.flow import backwarp
from vrt_core.network.spynet import normalise

from ..data.photos import Exposure, MovingPhotos
from .config import TrainConfig
from .losses import end_point_error, flow_loss

log = logging.getLogger(__name__)

DIFFERENCE_GAIN, FLOW_GAIN = 4.0, 0.2  # input of the level that is trained alone: [ref, 4 (supp - ref), 0.2 flow]


def prepare_spynet(spynet: nn.Module, photos: MovingPhotos, config: TrainConfig) -> None:
    """Train a SpyNet in place for the task of a run, by the steps in ``config.flow_pretraining``."""
    data, seed, steps = config.data, config.seed, config.flow_pretraining
    if data.task == "interpolate":
        refine_midpoint_flow(spynet, photos, seed=seed, **steps)
    elif data.task == "deblur":
        refine_blurred_flow(spynet, photos, shutter=data.shutter, speed_px=data.speed_px, seed=seed, **steps)
    else:
        pretrain(spynet, photos, seed=seed, **steps)


def draw_pairs(
    photos: MovingPhotos, rng: np.random.Generator, count: int, size_px: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw frame pairs: a and b, (N, 3, H, W) each, and flow_a_to_b, (N, 2, H, W)."""
    clips = [photos.draw(rng, 2, size_px) for _ in range(count)]
    a, b = (torch.stack([clip[i] for clip, _, _ in clips]) for i in range(2))
    return a, b, torch.cat([to_next for _, to_next, _ in clips])


def add_mixed_noise(rng: np.random.Generator, frames: Tensor, max_sigma_255: float) -> Tensor:
    """Add Gaussian noise of up to ``max_sigma_255`` to two thirds of the frames (N, 3, H, W)."""
    levels = rng.uniform(0, max_sigma_255, len(frames)) * (rng.random(len(frames)) > 1 / 3) / 255
    noise = torch.from_numpy(rng.standard_normal(tuple(frames.shape), dtype=np.float32))
    return frames + noise * torch.from_numpy(levels.astype(np.float32)).view(-1, 1, 1, 1)


def draw_residual_pairs(
    photos: MovingPhotos, rng: np.random.Generator, count: int, size_px: int
) -> tuple[Tensor, Tensor]:
    """Draw inputs and targets of a single level.

    Returns:
        [ref, 4 (warped supp - ref), 0.2 coarse flow], (N, 8, H, W), and the residual flow, (N, 2, H, W).
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
    difference = DIFFERENCE_GAIN * (backwarp(b, start, padding="border") - a)
    return torch.cat((a, difference, FLOW_GAIN * start), dim=1), flow - start


def fold_gains(level: nn.Module) -> None:
    """Fold the gains into the first convolution, so that the level takes SpyNet's input, [ref, warped supp, flow]."""
    weight = next(iter(level.parameters()))
    with torch.no_grad():
        difference = DIFFERENCE_GAIN * weight[:, 3:6]
        weight[:, :3] -= difference
        weight[:, 3:6] = difference
        weight[:, 6:] *= FLOW_GAIN


def anneal(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: 50 steps of warm-up, then cosine annealing to 2 % of ``peak``."""
    return peak * min(1.0, (step + 1) / 50) * (0.51 + 0.49 * math.cos(math.pi * step / steps))


def _optimise(
    name: str, parameters: list[nn.Parameter], draw_loss: Callable[[], tuple[Tensor, Tensor]], steps: int, peak: float
) -> None:
    """Run AdamW on ``draw_loss``, which returns the loss and the loss of zero flow on new data; log both."""
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.99), weight_decay=1e-4)
    start, sum_loss, sum_zero_loss = time.monotonic(), 0.0, 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = anneal(step, steps, peak)
        loss, zero_loss = draw_loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        sum_loss, sum_zero_loss = sum_loss + float(loss.detach()), sum_zero_loss + float(zero_loss)
        if (step + 1) % 50 == 0:
            means, seconds = (sum_loss / 50, sum_zero_loss / 50), time.monotonic() - start
            log.info("%s: step %d, error %.3f px, zero flow %.3f px, %.0f s", name, step + 1, *means, seconds)
            sum_loss = sum_zero_loss = 0.0


def pretrain(
    spynet: nn.Module, photos: MovingPhotos, *, level_steps: int, joint_steps: int, seed: int = 0, size_px: int = 64
) -> None:
    """Train a SpyNet from scratch, in place.

    Args:
        spynet: ``network.spynet``, with six equal levels in `basic_module`.
        photos: Source of pairs with exact flow.
        level_steps: Steps of the single level, on 8 pairs each.
        joint_steps: Steps of all levels together, on 4 pairs of twice the size each.
        seed: Seed of weights and data.
        size_px: Height and width of the pairs for the single level, a multiple of 32.
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
        inputs, residual = draw_residual_pairs(photos, rng, 8, size_px)
        zero_error = end_point_error(torch.zeros_like(residual), residual)
        return end_point_error(level(inputs), residual).mean(), zero_error.mean()

    _optimise("one level", list(level.parameters()), level_loss, level_steps, 5e-4)
    fold_gains(level)
    for other in levels:
        other.load_state_dict(level.state_dict())

    def joint_loss() -> tuple[Tensor, Tensor]:
        a, b, flow = draw_pairs(photos, rng, 4, 2 * size_px)
        max_sigma_255 = 50 * rng.random()
        pyramid = spynet(add_mixed_noise(rng, a, max_sigma_255), add_mixed_noise(rng, b, max_sigma_255))
        return flow_loss(pyramid, flow), flow_loss(_zeros_like(pyramid), flow)

    _optimise("all levels", list(spynet.parameters()), joint_loss, joint_steps, 2e-4)


def refine_midpoint_flow(
    spynet: nn.Module, photos: MovingPhotos, *, steps: int, seed: int = 0, pairs: int = 4, size_px: int = 128
) -> None:
    """Fine-tune a SpyNet for midpoint flow, in place: displacements on the grid of the moment between two frames.

    Args:
        spynet: ``network.spynet``.
        photos: Source of clips with exact flow; frames 2 apart move by up to 20 px.
        steps: Steps of AdamW.
        seed: Seed of the data.
        pairs: Pairs in a step.
        size_px: Height and width of the frames.
    """
    rng = np.random.default_rng([seed, 1])
    exposure = Exposure(speed_px=(0.2, 10.0))

    def draw_loss() -> tuple[Tensor, Tensor]:
        clips = [photos.draw(rng, 3, size_px, exposure=exposure) for _ in range(pairs)]
        a, b = (torch.stack([clip[i] for clip, _, _ in clips]) for i in (0, 2))
        target = torch.stack([backward[1] - forward[0] for _, backward, forward in clips])  # (N, 2, H, W)
        pyramid = spynet.levels(a, b, midpoint=True)[:1:-1]  # pyright: ignore[reportCallIssue]
        return _flow_losses(pyramid, target)

    _optimise("midpoint flow", list(spynet.parameters()), draw_loss, steps, 3e-4)


def refine_blurred_flow(
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
    """Fine-tune a SpyNet on frames with fast motion and motion blur, in place.

    Args:
        spynet: ``network.spynet``.
        photos: Source of clips with exact flow.
        steps: Steps of AdamW.
        shutter: Minimum and maximum exposure time / time between frames.
        speed_px: Minimum and maximum motion between frames, in pixels.
        seed: Seed of the data.
        pairs: Pairs in a step.
        size_px: Height and width of the frames.
    """
    rng = np.random.default_rng([seed, 2])

    def draw() -> tuple[Tensor, Tensor]:
        """Draw two blurred frames, (2, 3, H, W), and the flows from each to the other, (2, 2, H, W)."""
        exposure = Exposure(subframes=7, shutter=float(rng.uniform(*shutter)), speed_px=speed_px)
        clip, to_next, to_previous = photos.draw(rng, 2, size_px, exposure=exposure)
        return clip.unflatten(0, (2, 7)).mean(dim=1), torch.cat((to_next, to_previous))

    def draw_loss() -> tuple[Tensor, Tensor]:
        examples = [draw() for _ in range(pairs)]
        frames = torch.stack([pair for pair, _ in examples])  # (N, 2, 3, H, W)
        target = torch.cat([flows for _, flows in examples])  # (2N, 2, H, W)
        pyramid = spynet(frames.flatten(0, 1), frames.flip(1).flatten(0, 1))
        return _flow_losses(pyramid, target)

    _optimise("blurred frames", list(spynet.parameters()), draw_loss, steps, 3e-4)


def _zeros_like(pyramid: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(flow) for flow in pyramid]


def _flow_losses(pyramid: Sequence[Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of a flow pyramid and of zero flow, for fast motion."""
    zero_loss = flow_loss(_zeros_like(pyramid), target, max_flow_px=40.0)
    return flow_loss(pyramid, target, max_flow_px=40.0), zero_loss
