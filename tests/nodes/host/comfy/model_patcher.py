"""Owner of a model."""

from typing import Any

import torch


class ModelPatcher:
    def __init__(self, model: Any, load_device: torch.device, offload_device: torch.device) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
