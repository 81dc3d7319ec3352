"""Distributed data-parallel training: the processes that ``torchrun`` starts, or a single process without it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class ProcessGroup:
    """This process among those that train together, and the collective operations that training needs."""

    def __init__(self, rank: int = 0, world_size: int = 1, device: torch.device | str = "cpu") -> None:
        """Describe this process; by default it trains alone on the CPU.

        Args:
            rank: Number of this process; rank 0 writes the logs and checkpoints.
            world_size: Number of processes.
            device: Device of this process.
        """
        self.rank, self.world_size, self.device = rank, world_size, torch.device(device)

    @classmethod
    def setup(cls, device: str = "auto") -> ProcessGroup:
        """Initialise torch.distributed if ``torchrun`` started this process.

        Args:
            device: "auto" is a CUDA device for each process, or the CPU.
        """
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        if device == "auto":
            device = f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls(device=device)
        if device.startswith("cuda"):
            torch.cuda.set_device(torch.device(device))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def cleanup(self) -> None:
        """Destroy the process group of torch.distributed."""
        if self.world_size > 1:
            dist.destroy_process_group()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over the processes, with one all-reduce of all of them."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.world_size
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def broadcast(self, *values: int) -> tuple[int, ...]:
        """Return the values of rank 0 in every process."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, device=self.device)
        dist.broadcast(tensor, 0)
        return tuple(int(value) for value in tensor)
