"""Training-time changes to the stages of a VRT: gradient checkpointing, and leaving them out."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vrt_core import VRT


def checkpoint_stages(network: VRT) -> None:
    """Enable gradient checkpointing for stages 1-7: only their inputs and outputs are kept for the backward pass."""
    for i in range(1, 8):
        stage = network.get_submodule(f"stage{i}")
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)


@contextmanager
def skip_stages(network: nn.Module) -> Iterator[None]:
    """Leave the stages out: the head then reads the features of the first convolution alone, and trains quickly."""
    setattr(network, "_features", lambda x, *_: torch.zeros_like(x))  # noqa: B010
    try:
        yield
    finally:
        delattr(network, "_features")
