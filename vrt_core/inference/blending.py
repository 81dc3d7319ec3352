"""Results of windows and how they become frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Share:
    """What one window has to say about one output frame."""

    index: int
    """Number of the output frame."""
    weight: float
    """How much it counts; the weights of all shares of a frame sum to 1."""
    frame: Tensor
    """(3, sH, sW) float32, not weighted."""


def blend(shares: Sequence[Share]) -> Tensor:
    """Return the frame, (3, sH, sW) float32, that all its shares make together.

    Args:
        shares: Every share of one output frame, in the order of their windows. One alone is returned as it is.
    """
    first, *others = shares
    if not others:
        return first.frame
    with torch.no_grad():
        frame = first.weight * first.frame
        for share in others:
            frame += share.weight * share.frame
    return frame
