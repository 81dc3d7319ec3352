"""Devices and precisions by name, free memory, and out-of-memory errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F

from ..errors import InputError

_log = logging.getLogger(__name__)
_MIN_SPEEDUP = 1.2
"""Speed of fp16 over fp32 from which "auto" takes fp16."""
_ACCELERATOR_SHARE, _CPU_SHARE = 0.8, 0.5
"""Fraction of the free memory to plan with: 0.8 on accelerators, 0.5 of RAM, which other processes need too."""
_UNKNOWN_FREE_BYTES = 4 << 30
_OUT_OF_MEMORY = (
    *("out of memory", "out_of_memory", "outofmemory"),
    *("alloc_failed", "out_of_device_memory", "out_of_host_memory"),  # cuBLAS and cuDNN; SYCL
    *("can't allocate memory", "not enough memory", "invalid buffer size"),  # host; host on Windows; Metal
)
"""Words in messages of torch and of the libraries below it, lower case."""

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Names of the precisions; fp32 is the reference."""


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of this name; "auto" is the first accelerator there is, else the CPU.

    A name without a number is the current device of the calling thread, by its number.

    Raises:
        InputError: If the name is wrong or the machine has no such device.
    """
    if device == "auto":
        accelerators = (torch.device(kind) for kind in ("cuda", "xpu", "mps") if is_available(kind))
        return with_index(next(accelerators, torch.device("cpu")))
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
    return with_index(picked)


def with_index(device: torch.device) -> torch.device:
    """Return the device with its number: without one, a name means another device in a thread with another current one.

    Kinds of which a machine has only one device have no numbers.
    """
    current_device: Callable[[], int] | None = getattr(backend(device.type), "current_device", None)
    if device.index is not None or device.type == "cpu" or current_device is None:
        return device
    return torch.device(device.type, current_device())


def synchronize(device: torch.device) -> None:
    """Wait until the work that is queued on this device has ended."""
    module = backend(device.type)
    if device.type == "mps":
        torch.mps.synchronize()  # takes no device
    elif module is not None and hasattr(module, "synchronize"):
        module.synchronize(device)


def is_available(kind: str) -> bool:
    """Return whether torch can use this kind of device here."""
    return getattr(backend(kind), "is_available", lambda: False)()


def backend(kind: str) -> ModuleType | None:
    """Return torch's module for a kind of device, such as ``torch.cuda`` (which serves ROCm as well)."""
    return getattr(torch, kind, None)


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of this name; "auto" is fp16 on an accelerator that computes faster in it, else fp32.

    Logs a warning for fp16 on a CPU without native fp16: torch falls back to im2col there, which is slower and needs
    more memory.

    Raises:
        InputError: If the name is wrong, or the device cannot compute in it.
    """
    if precision == "auto":
        return torch.float16 if device.type != "cpu" and half_is_faster(device) else torch.float32
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise InputError(f"precision ({precision!r}) must be auto, {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu" and not half_is_faster(device):
        _log.warning("this CPU gains nothing from fp16: it may take many times as long as fp32, and more memory")
    return PRECISIONS[precision]


@cache
def half_is_faster(device: torch.device) -> bool:
    """Measure whether a device computes correctly and clearly faster in fp16 than in fp32; once in a process."""
    try:
        single, half = (_probe_seconds(device, dtype) for dtype in (torch.float32, torch.float16))
    except (RuntimeError, NotImplementedError) as error:  # the kernels are missing
        _log.info("%s cannot compute in fp16: %s", device, error)
        return False
    _log.info("%s computes in fp16 at %.1f times the rate of fp32", device, single / half)
    return single >= _MIN_SPEEDUP * half


def _probe_seconds(device: torch.device, dtype: torch.dtype, windows: int = 128) -> float:
    """Return the minimum time of a linear layer and window attention of the network's sizes, in seconds.

    Infinity if the result is wrong; it is known, since all inputs are equal.
    """
    heads, length, size = 6, 128, 32
    x = torch.full((windows * length, heads * size), 0.25, device=device, dtype=dtype)
    weight = torch.full((3 * heads * size, heads * size), 0.125, device=device, dtype=dtype)

    def work() -> torch.Tensor:
        q, k, v = F.linear(x, weight).view(windows, length, 3, heads, size).transpose(1, 3).unbind(2)
        return F.scaled_dot_product_attention(q, k, v)

    best = float("inf")
    with torch.inference_mode():
        is_correct = bool((work() - heads * size * 0.25 * 0.125).abs().max() < 0.05)
        for _ in range(5):
            synchronize(device)
            start = time.perf_counter()
            work()
            synchronize(device)
            best = min(best, time.perf_counter() - start)
    return best if is_correct else float("inf")


def precision_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype among ``PRECISIONS``."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def release_unused(device: torch.device) -> None:
    """Return the memory that torch's caching allocator retains to the device."""
    empty: Callable[[], None] | None = getattr(backend(device.type), "empty_cache", None)
    if empty is not None:
        empty()


def usable_bytes(device: torch.device) -> int:
    """Return the memory that a network pass on this device may plan with."""
    if device.type == "cpu":
        return int(_CPU_SHARE * _free_ram_bytes())
    module = backend(device.type)
    if device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    elif module is not None and hasattr(module, "mem_get_info"):
        free = module.mem_get_info(device)[0]
        free += module.memory_reserved(device) - module.memory_allocated(device)  # retained by torch's allocator
    else:
        free = _UNKNOWN_FREE_BYTES
    return int(_ACCELERATOR_SHARE * free)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that a device or the host is out of memory."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in _OUT_OF_MEMORY)


def _free_ram_bytes() -> int:
    """Return the memory still available to this process, limited by its container."""
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(facts["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return _UNKNOWN_FREE_BYTES
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(free, limit - used + int(stat["inactive_file"]))  # the page cache is released on demand
    except (OSError, KeyError, ValueError):  # no such file, or "max"
        return free
