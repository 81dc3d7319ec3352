"""Conversion between clips (float tensors) and 8-bit images (numpy arrays)."""

import numpy as np
import torch
from torch import Tensor

from .degradations import round_to_8bit


def to_images(clip: Tensor) -> list[np.ndarray]:
    """Round a clip (T, 3, H, W) in [0, 1] to 8-bit images, (H, W, 3) uint8 each."""
    return list((round_to_8bit(clip) * 255).round().to(torch.uint8).movedim(1, -1).numpy())


def from_images(images: list[np.ndarray]) -> Tensor:
    """Return the clip (T, 3, H, W) in [0, 1] of 8-bit images, (H, W, 3) uint8 each."""
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255
