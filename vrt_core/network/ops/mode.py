"""Which implementation of an operation runs: the fast one or the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_forced = ContextVar("forced", default=False)


@contextmanager
def reference() -> Iterator[None]:
    """Run the reference of every operation in this context, in this thread only."""
    token = _forced.set(True)
    try:
        yield
    finally:
        _forced.reset(token)


def use_reference(*, differentiable: bool = False) -> bool:
    """Return whether an operation must run its reference. Every operation asks here, and nowhere else.

    That is the case in ``reference()``, and where gradients are recorded: fast paths work in place and in chunks.

    Args:
        differentiable: Whether the fast path has a backward pass; training then uses it too.
    """
    return _forced.get() or (torch.is_grad_enabled() and not differentiable)
