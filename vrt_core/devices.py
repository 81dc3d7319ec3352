"""Where the network runs and in which precision, by the names that users give."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch

from .errors import InputError

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Names of the precisions; fp32 is the reference."""


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of this name; "auto" is the first accelerator there is, else the CPU.

    Raises:
        InputError: If the name is wrong or the machine has no such device.
    """
    if device == "auto":
        found = (torch.device(kind) for kind in ("cuda", "xpu", "mps") if is_available(kind))
        return next(found, torch.device("cpu"))
    try:
        picked = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"device ({device!r}) is unknown; use auto, cpu, cuda, cuda:1, xpu or mps") from None
    if not is_available(picked.type):
        raise InputError(f"device ({str(device)!r}) is not available in this installation of torch; use auto or cpu")
    count = getattr(backend(picked.type), "device_count", lambda: 1)()
    if picked.type != "cpu" and (picked.index or 0) >= count:
        raise InputError(
            f"device ({str(device)!r}) does not exist; there are {count}: {picked.type}:0 to {picked.type}:{count - 1}"
        )
    return picked


def is_available(kind: str) -> bool:
    """Return whether tensors can live on this kind of device."""
    return getattr(backend(kind), "is_available", lambda: False)()


def backend(kind: str) -> ModuleType | None:
    """Return torch's module for a kind of device, such as ``torch.cuda`` (which serves ROCm as well)."""
    return getattr(torch, kind, None)


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of this name; "auto" is fp16 where the device computes faster in it, else fp32.

    Raises:
        InputError: If the name is wrong, or the device cannot compute in it.
    """
    if precision == "auto":
        fast = device.type == "xpu" or (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0))
        return torch.float16 if fast else torch.float32
    if precision not in PRECISIONS:
        raise InputError(f"precision ({precision!r}) must be auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def precision_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype among ``PRECISIONS``."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def release_unused(device: torch.device) -> None:
    """Hand memory that torch keeps for later back to the device."""
    empty: Callable[[], None] | None = getattr(backend(device.type), "empty_cache", None)
    if empty is not None:
        empty()
