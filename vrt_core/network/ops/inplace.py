"""Sums and products in the memory of their first operand."""

from __future__ import annotations

from torch import Tensor

from .mode import use_reference


def add_(x: Tensor, y: Tensor) -> Tensor:
    """Return x + y, in the memory of ``x``, which no one else may need; the reference makes a new tensor."""
    return x + y if use_reference() else x.add_(y)


def mul_(x: Tensor, y: Tensor) -> Tensor:
    """Return x * y, in the memory of ``x``, which no one else may need; the reference makes a new tensor."""
    return x * y if use_reference() else x.mul_(y)
