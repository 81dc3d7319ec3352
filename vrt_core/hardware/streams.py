"""CUDA streams: work of several threads side by side, and copies that overlap with the network.

Copies go from and to pinned memory, in streams of their own. Torch keeps pinned and device blocks until the copies that
use them have ended, so two of each are in use. On a CPU, and on devices without streams, everything runs in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from .devices import backend


class DeviceStream:
    """A stream as a context manager: inside it, the calling thread does not wait for other threads' work.

    On exit, the work in the stream has ended. Call ``wait_event`` before reading a tensor that was made on another
    stream, and ``record_stream`` before another stream reads a tensor that was made on this one. The caller's current
    stream is that of this device, even if another device is current.
    """

    def __init__(self, device: torch.device) -> None:
        """Create the stream; on devices without streams, all methods do nothing."""
        self._device, self._module = device, _stream_module(device)
        self._stream = None if self._module is None else self._module.Stream(device)
        self._exit = ExitStack()

    def __enter__(self) -> DeviceStream:
        if self._module is not None:
            self._exit.enter_context(self._module.stream(self._stream))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()
        if self._stream is not None:
            self._stream.synchronize()

    def record_event(self) -> Any:
        """Return an event after the work that the caller has queued on its current stream, for ``wait_event``."""
        return None if self._module is None else self._module.current_stream(self._device).record_event()

    def wait_event(self, event: Any) -> None:
        """Make work queued in this stream from now on wait for an event."""
        if self._stream is not None and event is not None:
            self._stream.wait_event(event)

    def record_stream(self, tensor: Tensor) -> Tensor:
        """Return a tensor made in this stream, its memory retained until the caller's current stream has used it."""
        if self._module is not None and tensor.device.type != "cpu":
            tensor.record_stream(self._module.current_stream(self._device))
        return tensor


class AsyncCopier:
    """Copies tensors between the host and a device beside the device's work; threads may share it."""

    def __init__(self, device: torch.device) -> None:
        """Copy to ``device`` and from it."""
        self._device = device
        self._module = _stream_module(device)
        self._up, self._down = (None if self._module is None else self._module.Stream(device) for _ in range(2))

    def is_async(self, other: torch.device) -> bool:
        """Return whether copies to and from ``other`` run beside the device's work."""
        return self._module is not None and other.type == "cpu"

    def upload(self, tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """Start to copy contiguous tensors to the device.

        Returns:
            A function that returns the copies; the device waits for them, the host does not.
        """
        if not tensors or not self.is_async(tensors[0].device):
            return lambda: [tensor.to(self._device) for tensor in tensors]
        module, stream = self._module, self._up
        assert module is not None
        assert stream is not None
        pinned = [pin(tensor) for tensor in tensors]
        with module.stream(stream):
            copies = [tensor.to(self._device, non_blocking=True) for tensor in pinned]
            copied = stream.record_event()

        def wait() -> list[Tensor]:
            current = module.current_stream(self._device)
            current.wait_event(copied)
            for tensor in copies:
                tensor.record_stream(current)
            return copies

        return wait

    def download(self, tensors: Sequence[Tensor], to: torch.device) -> Callable[[], list[Tensor]]:
        """Start to copy tensors of the device to another one.

        Returns:
            A function that waits for the copies and returns them.
        """
        if not self.is_async(to):
            return lambda: [tensor.to(to) for tensor in tensors]
        module, stream = self._module, self._down
        assert module is not None
        assert stream is not None
        stream.wait_stream(module.current_stream(self._device))
        with module.stream(stream):
            copies = [pinned_like(tensor).copy_(tensor, non_blocking=True) for tensor in tensors]
            for tensor in tensors:
                tensor.record_stream(stream)
            copied = stream.record_event()

        def wait() -> list[Tensor]:
            copied.synchronize()
            return copies

        return wait


def pin(tensor: Tensor) -> Tensor:
    """Return a copy in pinned memory, which the device reads by itself."""
    return tensor.pin_memory()


def pinned_like(tensor: Tensor) -> Tensor:
    """Return an empty tensor in pinned memory, which the device writes by itself."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)


def _stream_module(device: torch.device) -> Any:
    """Return torch's module for a device with streams, None for others."""
    module = backend(device.type)
    return module if device.type in ("cuda", "xpu") and hasattr(module, "Stream") else None
