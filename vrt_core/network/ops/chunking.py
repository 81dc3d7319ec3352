"""How much to work on at a time, and in the same memory."""

from __future__ import annotations

import sys

import torch
from torch import Tensor


def budget_bytes(device: torch.device) -> int:
    """Return what to work on at a time: what stays in the caches of a CPU, what keeps an accelerator busy."""
    return 16 << 20 if device.type == "cpu" else 512 << 20


def items_at_a_time(item_bytes: int, device: torch.device) -> int:
    """Return how many items of this many bytes to take together; all where gradients are recorded, and all are kept."""
    return sys.maxsize if torch.is_grad_enabled() else max(budget_bytes(device) // item_bytes, 1)


def add_to(x: Tensor, y: Tensor) -> Tensor:
    """Return x + y, in the memory of ``x`` where no gradients are recorded: for an ``x`` that nobody else reads."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def multiply_by(x: Tensor, y: Tensor) -> Tensor:
    """Return x * y, in the memory of ``x`` where no gradients are recorded: for an ``x`` that nobody else reads."""
    return x * y if torch.is_grad_enabled() else x.mul_(y)
