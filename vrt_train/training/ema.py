"""Exponential moving average (EMA) of a network's weights, which is validated and exported."""

import copy

import torch
from torch import nn


class EMA:
    """A copy of a network whose weights are the moving average of the trained ones."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        """Copy the network.

        Args:
            network: Network that is trained.
            decay: Decay of the average after many updates; lower at first, so that the average follows early changes.
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of ``network``; copy its buffers."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for average, parameter in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
