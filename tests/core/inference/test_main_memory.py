"""Frames, flows and results wait in main memory: the accelerator holds no more than the plan says.

A tensor subclass plays the accelerator: whatever is computed from its tensors is on it, too, until it is copied away.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.helpers.fake_restorers import by_windows, fake_restorer, random_clip
from vrt_core.errors import OutOfMemoryError

DEVICE = torch.device("cuda:7")
CPU = torch.device("cpu")


class DeviceTensor(Tensor):
    """A tensor on the CPU that claims to be on ``DEVICE``; counts the bytes of all that are alive."""

    alive = peak = 0

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is Tensor.device.__get__:  # type: ignore[attr-defined]
            return DEVICE
        target = kwargs.pop("device", None)
        named = [value for value in args[1:] if isinstance(value, torch.device)]
        args = [value for value in args if not isinstance(value, torch.device)]
        if function.__name__ == "to":
            target = target or next(iter(named), None)
        elif function is Tensor.cpu:
            target = CPU
        plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
        if function.__name__ == "to" and len(plain_args) == 1 and not plain_kwargs:
            result = plain_args[0]
        else:
            result = function(*plain_args, **plain_kwargs)
        if target is not None and target != DEVICE:
            return result
        return tree_map(_on_device, result)


def _plain(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, DeviceTensor) else value


def _on_device(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    tensor = value.as_subclass(DeviceTensor)
    size = value.nbytes
    DeviceTensor.alive += size
    DeviceTensor.peak = max(DeviceTensor.peak, DeviceTensor.alive)

    def forget() -> None:
        DeviceTensor.alive -= size

    weakref.finalize(tensor, forget)
    return tensor


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copy tensors to the fake accelerator with ``to``, too; start to count."""
    copy = Tensor.to

    def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if type(tensor) is Tensor and DEVICE in (*args, *kwargs.values()):
            return _on_device(tensor.clone())
        return copy(tensor, *args, **kwargs)

    monkeypatch.setattr(Tensor, "to", to)
    gc.collect()
    DeviceTensor.alive = DeviceTensor.peak = 0
    yield
    gc.collect()


def test_the_fake_accelerator_counts(accelerator: None) -> None:
    frame = _on_device(torch.zeros(3, 4, 4))
    assert frame.device == DEVICE
    assert torch.stack([frame, frame]).device == frame.new_zeros(3).device == DEVICE
    assert frame.to(CPU).device == frame.cpu().device == CPU
    assert type(frame.to(CPU)) is Tensor
    kept = frame + 1
    assert DeviceTensor.alive == 2 * kept.nbytes


@pytest.mark.parametrize("interpolates", [False, True])
def test_a_stream_holds_a_few_frames_on_the_accelerator(accelerator: None, interpolates: bool) -> None:
    scale = 1 if interpolates else 4
    restorer = fake_restorer(scale=scale, interpolates=interpolates, window=12, overlap=4)
    clip = random_clip(40, 32, 32)
    expected = restorer.restore(clip, cuts="off")
    frames = (_on_device(frame.clone()) for frame in clip)
    for frame, plain in zip(restorer.stream(frames, cuts="off"), expected, strict=True):
        assert frame.device == DEVICE, "results are on the device of the frames"
        assert torch.equal(_plain(frame), plain)
    result_bytes = expected[0].nbytes
    assert DeviceTensor.peak <= 4 * result_bytes + 4 * clip[0].nbytes, "a window has 12"


def test_a_window_waits_in_main_memory(accelerator: None) -> None:
    restorer = fake_restorer(scale=4, window=12, overlap=4)
    clip = random_clip(20, 32, 32)
    expected = by_windows(restorer, clip)
    window = restorer.plan(20, 32, 32)[0]
    source = _on_device(clip[window.start : window.stop].clone())
    cache = restorer.new_cache()
    parts = restorer.restore_window(window, source, cache=cache)
    assert all(part.frame.device == DEVICE for part in parts)
    assert torch.equal(_plain(parts[0].frame), expected[0])
    del parts
    gc.collect()
    assert cache.num_bytes > 0, "flows stay for the next window"
    assert DeviceTensor.alive == source.nbytes


def test_results_too_large_for_main_memory_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = fake_restorer(scale=4, name="the-model")
    message = r"the-model is out of memory: the 4 frames of 64x96 px .* take 0 MiB .* window_frames"

    allocate = torch.zeros

    def refuse(*size: int, **facts: Any) -> Tensor:
        if len(size) == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")
        return allocate(*size, **facts)

    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(OutOfMemoryError, match=message):
        restorer.restore(random_clip(9, 16, 24), cuts="off")
