"""Where the network runs and in which precision, by the names that users give."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F

from ..errors import InputError

_log = logging.getLogger(__name__)
_CLEARLY_FASTER = 1.2

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
    """Return the dtype of this name; "auto" is fp16 where an accelerator is found to be faster in it, else fp32.

    Warns of fp16 on a CPU that gains nothing by it: without units for it, torch lays out what convolutions read.

    Raises:
        InputError: If the name is wrong, or the device cannot compute in it.
    """
    if precision == "auto":
        return torch.float16 if device.type != "cpu" and half_is_faster(device) else torch.float32
    if precision not in PRECISIONS:
        raise InputError(f"precision ({precision!r}) must be auto, {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu" and not half_is_faster(device):
        _log.warning("this CPU gains nothing from fp16: it may take many times as long as fp32, and more memory")
    return PRECISIONS[precision]


@cache
def half_is_faster(device: torch.device) -> bool:
    """Try whether a device computes correctly and clearly faster in fp16 than in fp32; once in a process."""
    try:
        single, half = (_probe_seconds(device, dtype) for dtype in (torch.float32, torch.float16))
    except (RuntimeError, NotImplementedError) as error:  # the kernels are missing
        _log.info("%s cannot compute in fp16: %s", device, error)
        return False
    _log.info("%s computes in fp16 at %.1f times the rate of fp32", device, single / half)
    return single >= _CLEARLY_FASTER * half


def _probe_seconds(device: torch.device, dtype: torch.dtype, windows: int = 128) -> float:
    """Return the least time of a linear layer and attention in windows, as the network has them.

    Infinity if the result is wrong: all numbers are equal, so it is known.
    """
    wait: Callable[[], None] = getattr(backend(device.type), "synchronize", lambda: None)
    heads, length, size = 6, 128, 32
    x = torch.full((windows * length, heads * size), 0.25, device=device, dtype=dtype)
    weight = torch.full((3 * heads * size, heads * size), 0.125, device=device, dtype=dtype)

    def work() -> torch.Tensor:
        q, k, v = F.linear(x, weight).view(windows, length, 3, heads, size).transpose(1, 3).unbind(2)
        return F.scaled_dot_product_attention(q, k, v)

    best = float("inf")
    with torch.inference_mode():
        right = bool((work() - heads * size * 0.25 * 0.125).abs().max() < 0.05)
        for _ in range(5):
            wait()
            start = time.perf_counter()
            work()
            wait()
            best = min(best, time.perf_counter() - start)
    return best if right else float("inf")


def precision_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype among ``PRECISIONS``."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def release_unused(device: torch.device) -> None:
    """Hand memory that torch keeps for later back to the device."""
    empty: Callable[[], None] | None = getattr(backend(device.type), "empty_cache", None)
    if empty is not None:
        empty()
