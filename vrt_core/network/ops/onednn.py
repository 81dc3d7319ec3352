"""float32 matrix products on a CPU by oneDNN instead of MKL."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from .mode import use_reference


class SharedContext:
    """A context manager of the whole process: the first thread that enters it sets it, the last that leaves ends it."""

    def __init__(self, create: Callable[[], AbstractContextManager[Any]]) -> None:
        self._create, self._lock, self._count = create, threading.Lock(), 0
        self._active: AbstractContextManager[Any] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Enter, and leave at the end of the block."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._active = self._create()
                self._active.__enter__()
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if not self._count and self._active is not None:
                    self._active.__exit__(None, None, None)


def onednn_matmul(x: Tensor) -> AbstractContextManager[None]:
    """Have oneDNN multiply matrices in this context, where ``prefer_onednn(x)``.

    Enter it once for a pass or an estimate, not for each product: torch's setting is process-wide, and small
    convolutions obey it too, so their rounding would depend on other threads. Does nothing while torch compiles or
    exports.
    """
    return _by_onednn() if prefer_onednn(x) and not torch.compiler.is_compiling() else nullcontext()


def prefer_onednn(x: Tensor) -> bool:
    """Return whether to multiply ``x`` by oneDNN: float32 on a CPU with AVX-512, where oneDNN is as exact as MKL.

    Not in the reference, and not for tensors without data (FakeTensorMode). Measured on AMD's processors; Intel's
    without AMX use oneDNN too, unmeasured.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not use_reference()
        and type(x) is Tensor
        and _onednn_is_exact()
    )


@contextmanager
def _allow_bfloat16() -> Iterator[None]:
    """Set torch's precision of CPU matrix products to bfloat16.

    torch multiplies float32 matrices by MKL, which uses half of the vector width on processors that are not Intel's.
    With this setting it hands them to oneDNN. oneDNN rounds to bfloat16 on processors with units for it (AMX) and
    computes in float32 on all others.
    """
    setting = _setting()
    before, setting.fp32_precision = setting.fp32_precision, "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


_by_onednn = SharedContext(_allow_bfloat16)


def _setting() -> Any:
    """Return the object that holds ``fp32_precision`` of CPU matrix products; None in versions of torch without it."""
    return getattr(torch.backends.mkldnn, "matmul", None)


@torch.compiler.assume_constant_result  # the compiler would trace into the cache
def _onednn_is_exact() -> bool:
    return _measure_exactness()


@functools.cache
def _measure_exactness() -> bool:
    """Multiply numbers that bfloat16 would round, and return whether they stay exact; once in a process."""
    if _setting() is None or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    plain = {"dtype": torch.float32, "device": "cpu"}
    fine, one = torch.full((2, 64, 64), 1 + 2**-20, **plain), torch.eye(64, **plain).expand(2, -1, -1)
    with _by_onednn():
        return torch.equal(torch.bmm(fine, one), fine)
