"""Training losses: Charbonnier, end-point error of flow, and the loss of a network on a batch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vrt_core import VRT

from ..data.examples import Example
from .config import TrainConfig

NEIGHBOUR_WEIGHT = 0.5  # interpolation: weight of the loss of the warped neighbours


def charbonnier(output: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Return the mean of sqrt(difference^2 + epsilon^2): an L1 loss that is smooth at zero."""
    return ((output.float() - target) ** 2 + epsilon**2).sqrt().mean()


def end_point_error(flow: Tensor, target: Tensor) -> Tensor:
    """Return the length of the flow error at each pixel: (N, 2, H, W) twice -> (N, H, W), in pixels."""
    return ((flow.float() - target) ** 2).sum(dim=1).add(1e-6).sqrt()


def shrink_flow(flow: Tensor, level: int) -> Tensor:
    """Average a flow down to a level: (N, 2, H, W) -> (N, 2, H / 2^level, W / 2^level), in pixels of the level."""
    return flow if level == 0 else F.avg_pool2d(flow, 2**level) / 2**level


def flow_loss(levels: Sequence[Tensor], target: Tensor, max_flow_px: float = 16.0) -> Tensor:
    """Supervise a flow pyramid with the exact flow at full resolution.

    Args:
        levels: Level i is (N, 2, H/2^i, W/2^i).
        target: (N, 2, H, W), pixels. Pixels whose flow leaves the frame are ignored.
        max_flow_px: Pixels with more flow along x or y are ignored too.

    Returns:
        Mean end-point error over the levels, each in full-resolution pixels.
    """
    H, W = target.shape[-2:]
    rows = torch.arange(H, device=target.device)[:, None] + target[:, 1]
    columns = torch.arange(W, device=target.device) + target[:, 0]
    inside = (rows >= 0) & (rows <= H - 1) & (columns >= 0) & (columns <= W - 1)  # (N, H, W)
    valid = (inside & (target.abs().amax(dim=1) < max_flow_px)).float()[:, None]  # (N, 1, H, W)
    total = target.new_zeros(())
    for i, flow in enumerate(levels):
        weight = F.avg_pool2d(valid, 2**i)[:, 0]  # (N, H / 2^i, W / 2^i)
        error = end_point_error(flow, shrink_flow(target, i)) * 2**i
        total = total + (error * weight).sum() / weight.sum().clamp(min=1.0)
    return total / len(levels)


def bf16_autocast(enabled: bool, device: torch.device) -> torch.autocast:
    """Run convolutions and matrix products in bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)


def restoration_loss(network: VRT, batch: Example, config: TrainConfig) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a restoration network: Charbonnier loss plus the weighted error of known flows.

    Args:
        network: Network to train.
        batch: Batch of restoration examples.
        config: Weights of the terms and precision.

    Returns:
        The loss, a scalar, and the terms for the log.
    """
    flows = network.clip_flows(batch.input)
    with bf16_autocast(config.bf16, batch.input.device):
        output = network(batch.input, flows=flows)
    loss = charbonnier(output, batch.target, config.epsilon)
    terms = {"loss": float(loss.detach())}
    if config.flow_weight and batch.has_flow.any():
        errors = []
        for levels, target in zip(flows, (batch.backward, batch.forward), strict=True):
            known = [flow[batch.has_flow].flatten(0, 1) for flow in levels]
            errors.append(flow_loss(known, target[batch.has_flow].flatten(0, 1)))
        error = (errors[0] + errors[1]) / 2
        loss = loss + config.flow_weight * error
        terms["flow_error_px"] = float(error.detach())
    return loss, terms


def interpolation_loss(network: VRT, batch: Example, config: TrainConfig) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of an interpolation network.

    It is the Charbonnier loss of the frame; with midpoint flow also that of its two warped neighbours, and the weighted
    error of known displacements. Arguments and results as for ``restoration_loss``.
    """
    if not network.config.middle_flow:
        with bf16_autocast(config.bf16, batch.input.device):
            output = network(batch.input)
        loss = charbonnier(output, batch.target, config.epsilon)
        return loss, {"loss": float(loss.detach())}
    half = batch.input.shape[1] // 2
    mean = batch.input.mean(dim=(1, 3, 4), keepdim=True)
    frames, base, displacement = network.warp_to_midpoint(batch.input)
    with bf16_autocast(config.bf16, batch.input.device):
        output = network.restore_midpoint(frames, base, mean)
    target = batch.target[:, 0]
    loss = charbonnier(output, target, config.epsilon)
    terms = {"loss": float(loss.detach())}
    neighbours = frames[:, half - 1 : half + 1, :3]
    loss = loss + NEIGHBOUR_WEIGHT * charbonnier(neighbours, batch.target.expand_as(neighbours))
    if config.flow_weight and batch.has_flow.any():
        error = end_point_error(displacement[batch.has_flow], batch.backward[batch.has_flow, 0]).mean()
        loss = loss + config.flow_weight * error
        terms["flow_error_px"] = float(error.detach())
    return loss, terms
