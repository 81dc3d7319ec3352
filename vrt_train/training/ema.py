"""Exponential moving average of a network's weights: what is validated and shipped."""

import copy

import torch
from torch import nn


class EMA:
    """Keeps ``network``, a smoothed copy of the one that is trained."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        """Start from a copy of the weights; early on the average is shorter than ``decay`` says, to follow them."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of ``network``."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for average, parameter in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
