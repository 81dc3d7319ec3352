"""Tensors on their way to a device and back, while the device works on others.

Copies run beside the network: from and to pinned memory, in streams of their own. Torch keeps pinned blocks and device
blocks until the copies that use them are done, so two of each are in use in turn. A CPU, or a device without streams,
does one thing after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from .devices import backend


class Lane:
    """While entered, this thread's work on the device does not wait for what other threads have queued there.

    When left, the work is done. Tensors that come from another lane need ``wait_for``, those that leave for another
    one ``hand_over``.
    """

    def __init__(self, device: torch.device) -> None:
        """Open a lane; without streams, everything here does nothing."""
        self._module = _streams_of(device)
        self._stream = None if self._module is None else self._module.Stream(device)
        self._left = ExitStack()

    def __enter__(self) -> Lane:
        if self._module is not None:
            self._left.enter_context(self._module.stream(self._stream))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.close()
        if self._stream is not None:
            self._stream.synchronize()

    def mark(self) -> Any:
        """Return the state of the work that the caller has queued outside, for ``wait_for``."""
        return None if self._module is None else self._module.current_stream().record_event()

    def wait_for(self, mark: Any) -> None:
        """Begin, in this lane, only when the work before ``mark`` is done."""
        if self._stream is not None and mark is not None:
            self._stream.wait_event(mark)

    def hand_over(self, tensor: Tensor) -> Tensor:
        """Return a tensor made in this lane, its memory kept until the caller's lane is done with it."""
        if self._module is not None and tensor.device.type != "cpu":
            tensor.record_stream(self._module.current_stream())
        return tensor


class Carrier:
    """Carries tensors between the computer and a device; threads may share it."""

    def __init__(self, device: torch.device) -> None:
        """Carry to ``device`` and from it."""
        self._device = device
        self._module = _streams_of(device)
        self._up, self._down = (None if self._module is None else self._module.Stream(device) for _ in range(2))

    def carries(self, other: torch.device) -> bool:
        """Whether copies to and from ``other`` run beside the device's work."""
        return self._module is not None and other.type == "cpu"

    def upload(self, tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """Begin to copy contiguous tensors to the device; the result waits for them, on the device alone."""
        if not tensors or not self.carries(tensors[0].device):
            return lambda: [tensor.to(self._device) for tensor in tensors]
        module, stream = self._module, self._up
        assert module is not None
        assert stream is not None
        pinned = [pin(tensor) for tensor in tensors]
        with module.stream(stream):
            there = [tensor.to(self._device, non_blocking=True) for tensor in pinned]
            done = stream.record_event()

        def arrive() -> list[Tensor]:
            here = module.current_stream()
            here.wait_event(done)
            for tensor in there:
                tensor.record_stream(here)
            return there

        return arrive

    def download(self, tensors: Sequence[Tensor], to: torch.device) -> Callable[[], list[Tensor]]:
        """Begin to copy tensors of the device to another; the result waits until they are there."""
        if not self.carries(to):
            return lambda: [tensor.to(to) for tensor in tensors]
        module, stream = self._module, self._down
        assert module is not None
        assert stream is not None
        stream.wait_stream(module.current_stream())
        with module.stream(stream):
            here = [pinned_like(tensor).copy_(tensor, non_blocking=True) for tensor in tensors]
            for tensor in tensors:
                tensor.record_stream(stream)
            done = stream.record_event()

        def arrive() -> list[Tensor]:
            done.synchronize()
            return here

        return arrive


def pin(tensor: Tensor) -> Tensor:
    """Return a copy in memory that the device can read by itself."""
    return tensor.pin_memory()


def pinned_like(tensor: Tensor) -> Tensor:
    """Return memory that the device can write by itself."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)


def _streams_of(device: torch.device) -> Any:
    """Return torch's module for a device with streams, None for others."""
    module = backend(device.type)
    return module if device.type in ("cuda", "xpu") and hasattr(module, "Stream") else None
