"""Several processes that train one network together, as ``torchrun`` starts them; one alone without it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks:
    """What a process must know of the others, and how they agree."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | str = "cpu") -> None:
        """Describe a process.

        Args:
            rank: Its number; 0 writes the logs and checkpoints.
            count: Number of processes.
            device: What it computes on.
        """
        self.rank, self.count, self.device = rank, count, torch.device(device)

    @classmethod
    def join(cls, device: str = "auto") -> Ranks:
        """Join the processes that torchrun started, if it did; "auto" is a CUDA device for each, or the CPU."""
        local = int(os.environ.get("LOCAL_RANK", 0))
        if device == "auto":
            device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls(device=device)
        if device.startswith("cuda"):
            torch.cuda.set_device(torch.device(device))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over the processes, all in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def follow_first(self, *values: int) -> tuple[int, ...]:
        """Return what process 0 says."""
        if self.count == 1:
            return values
        said = torch.tensor(values, device=self.device)
        dist.broadcast(said, 0)
        return tuple(int(value) for value in said)

    def leave(self) -> None:
        """Part from the others."""
        if self.count > 1:
            dist.destroy_process_group()
