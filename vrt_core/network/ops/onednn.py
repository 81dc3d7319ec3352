"""Products of float32 matrices on a CPU, by the quicker of torch's two libraries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

_lock = threading.Lock()
_inside = 0
_before = ""


def quick_products(x: Tensor) -> AbstractContextManager[None]:
    """Have products on a CPU computed by oneDNN, in this context, where ``onednn_is_quicker`` for ``x``.

    Around a whole pass or estimate, not around some of its products, or the last bits of the others would follow from
    what other threads do: torch's setting is the process's, and small convolutions obey it too. Nothing where a graph
    is recorded.
    """
    return _by_onednn() if onednn_is_quicker(x) and not torch.compiler.is_compiling() else nullcontext()


def onednn_is_quicker(x: Tensor) -> bool:
    """Return whether to multiply ``x`` by oneDNN: float32 on a CPU with AVX-512, where that is as exact as MKL.

    Not where gradients are recorded, nor for a tensor without contents. Measured on AMD's processors; of Intel's, those
    without AMX take it too, unmeasured.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and type(x) is Tensor
        and _onednn_is_exact()
    )


@contextmanager
def _by_onednn() -> Iterator[None]:
    """Have oneDNN multiply float32 matrices on a CPU, in all threads, as long as one of them is in here.

    torch leaves them to MKL, which keeps to half of the vector width on processors that are not Intel's. Allowed to
    round to bfloat16, torch hands them to oneDNN, which does round on processors with units for that (AMX), and
    computes in float32 on all others.
    """
    global _inside, _before
    setting = _setting()
    with _lock:
        _inside += 1
        if _inside == 1:
            _before, setting.fp32_precision = setting.fp32_precision, "bf16"
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                setting.fp32_precision = _before


def _setting() -> Any:
    """Return what holds ``fp32_precision`` of products on a CPU; None where torch is too old to have it."""
    return getattr(torch.backends.mkldnn, "matmul", None)


@torch.compiler.assume_constant_result  # by the compiler, which would look through the cache
def _onednn_is_exact() -> bool:
    return _products_stay_exact()


@cache
def _products_stay_exact() -> bool:
    """Try whether products stay exact that bfloat16 would round; once in a process."""
    if _setting() is None or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    plain = {"dtype": torch.float32, "device": "cpu"}
    fine, one = torch.full((2, 64, 64), 1 + 2**-20, **plain), torch.eye(64, **plain).expand(2, -1, -1)
    with _by_onednn():
        return torch.equal(torch.bmm(fine, one), fine)
