"""The loss of each kind of network on a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vrt_core import VRT

from ..data.examples import Example
from .config import TrainConfig
from .losses import charbonnier, end_point_error, flow_loss

MIDDLE_WEIGHT = 0.5  # of the loss of the warped neighbours, beside that of the interpolated frame


def bf16_products(enabled: bool, device: torch.device) -> torch.autocast:
    """Run convolutions and products in bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)


def checkpoint_stages(network: VRT) -> None:
    """Keep only what goes in and out of stages 1-7 for the gradient; the rest is computed again when it is needed."""
    for i in range(1, 8):
        stage = network.get_submodule(f"stage{i}")
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)


def restoration_loss(network: VRT, batch: Example, config: TrainConfig) -> tuple[Tensor, dict[str, float]]:
    """Charbonnier loss, and the error of the flows where they are known: the sum, and what the log shows."""
    flows = network.clip_flows(batch.input[:, :, :3])
    with bf16_products(config.bf16, batch.input.device):
        output = network(batch.input, flows=flows)
    loss = charbonnier(output, batch.target, config.epsilon)
    shown = {"loss": float(loss.detach())}
    if config.flow_weight and batch.has_flow.any():
        errors = []
        for levels, target in zip(flows, (batch.backward, batch.forward), strict=True):
            known = [flow[batch.has_flow].flatten(0, 1) for flow in levels]
            errors.append(flow_loss(known, target[batch.has_flow].flatten(0, 1)))
        error = (errors[0] + errors[1]) / 2
        loss = loss + config.flow_weight * error
        shown["flow_error_px"] = float(error.detach())
    return loss, shown


def interpolation_loss(network: VRT, batch: Example, config: TrainConfig) -> tuple[Tensor, dict[str, float]]:
    """Charbonnier loss of the frame and of the two neighbours warped to it, and the error of known displacements."""
    if not network.config.middle_flow:
        with bf16_products(config.bf16, batch.input.device):
            output = network(batch.input)
        loss = charbonnier(output, batch.target, config.epsilon)
        return loss, {"loss": float(loss.detach())}
    half = batch.input.shape[1] // 2
    mean = batch.input.mean(dim=(1, 3, 4), keepdim=True)
    frames, base, displacement = network.warp_to_midpoint(batch.input)
    with bf16_products(config.bf16, batch.input.device):
        output = network.restore_midpoint(frames, base, mean)
    target = batch.target[:, 0]
    loss = charbonnier(output, target, config.epsilon)
    shown = {"loss": float(loss.detach())}
    neighbours = frames[:, half - 1 : half + 1, :3]
    loss = loss + MIDDLE_WEIGHT * charbonnier(neighbours, batch.target.expand_as(neighbours))
    if config.flow_weight and batch.has_flow.any():
        error = end_point_error(displacement[batch.has_flow], batch.backward[batch.has_flow, 0]).mean()
        loss = loss + config.flow_weight * error
        shown["flow_error_px"] = float(error.detach())
    return loss, shown


@contextmanager
def without_body(network: nn.Module) -> Iterator[None]:
    """Leave the stages of a VRT out: the head then sees the first convolution's features alone, and learns quickly."""
    setattr(network, "_features", lambda x, *_: torch.zeros_like(x))  # noqa: B010
    try:
        yield
    finally:
        delattr(network, "_features")
