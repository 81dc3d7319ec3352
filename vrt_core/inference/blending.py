"""Cross-fade of overlapping windows: a weighted sum of their frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class WeightedFrame:
    """One window's weighted contribution to one output frame."""

    index: int
    """Number of the output frame."""
    weight: float
    """Weight of the window; the weights of all windows of a frame sum to 1."""
    frame: Tensor
    """(3, sH, sW) float32, not yet multiplied by the weight."""


def blend(parts: Sequence[WeightedFrame]) -> Tensor:
    """Return the weighted sum of all contributions to one output frame, (3, sH, sW) float32.

    Args:
        parts: Every contribution to the frame, in the order of the windows. A single one is returned as it is.
    """
    first, *others = parts
    if not others:
        return first.frame
    with torch.no_grad():
        frame = first.weight * first.frame
        for part in others:
            frame += part.weight * part.frame
    return frame
