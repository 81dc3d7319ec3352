"""Copies beside the network: what waits for what, on fake streams of two devices that record calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from tests.helpers.fake_restorers import fake_restorer, random_clip
from vrt_core.hardware import devices, streams
from vrt_core.hardware.streams import AsyncCopier, DeviceStream

CURRENT, OTHER = torch.device("cpu:0"), torch.device("cpu:1")
"""Two devices of the fake; tensors of both are on the CPU."""


class RecordingModule:
    """Fake ``torch.cuda`` with two devices: streams and events that record calls.

    As in torch, a thread has one current device and one current stream for each device. ``current_stream`` without an
    argument is that of the current device. Streams of different devices do not wait for each other here, because
    nothing in the engine has a reason to do so.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.names = iter(["up", "down", "stream", "another"])
        self.device = CURRENT.index
        self.current = {n: RecordingStream(self, n, f"main {n}") for n in (CURRENT.index, OTHER.index)}

    def Stream(self, device: torch.device | None = None) -> RecordingStream:  # noqa: N802 (torch's name)
        return RecordingStream(self, self._index(device), next(self.names))

    def current_stream(self, device: torch.device | None = None) -> RecordingStream:
        return self.current[self._index(device)]

    @contextmanager
    def stream(self, stream: RecordingStream) -> Iterator[None]:
        before = self.device, self.current[stream.device]
        self.device, self.current[stream.device] = stream.device, stream
        yield
        self.device, self.current[stream.device] = before

    def _index(self, device: torch.device | None) -> int:
        return self.device if device is None or device.index is None else device.index


class RecordingStream:
    def __init__(self, module: RecordingModule, device: int, name: str) -> None:
        self.module, self.device, self.name = module, device, name

    def record_event(self) -> RecordingStream:
        self.module.calls.append(f"{self.name} records")
        return RecordingStream(self.module, self.device, f"event of {self.name}")

    def wait_event(self, event: RecordingStream) -> None:
        assert event.device == self.device
        self.module.calls.append(f"{self.name} waits for {event.name}")

    def wait_stream(self, stream: RecordingStream) -> None:
        assert stream.device == self.device
        self.module.calls.append(f"{self.name} waits for {stream.name}")

    def synchronize(self) -> None:
        self.module.calls.append(f"host waits for {self.name}")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> RecordingModule:
    module = RecordingModule()

    def pinned(tensor: Tensor) -> Tensor:
        module.calls.append("pinned")
        return tensor.clone()

    def record_stream(tensor: Tensor, stream: RecordingStream) -> None:
        module.calls.append(f"recorded on {stream.name}")

    monkeypatch.setattr(streams, "_stream_module", lambda device: module)
    monkeypatch.setattr(streams, "pin", pinned)
    monkeypatch.setattr(streams, "pinned_like", torch.empty_like)
    monkeypatch.setattr(Tensor, "record_stream", record_stream)
    return module


each_device = pytest.mark.parametrize("device", [CURRENT, OTHER])


@each_device
def test_the_network_waits_for_an_upload_and_the_host_does_not(module: RecordingModule, device: torch.device) -> None:
    tensor = torch.arange(3.0)
    wait = AsyncCopier(device).upload([tensor])
    assert module.calls == ["pinned", "up records"]
    (results,) = wait()
    assert torch.equal(results, tensor)
    assert module.calls[2:] == [f"main {device.index} waits for event of up", f"recorded on main {device.index}"]


@each_device
def test_a_download_waits_for_the_network(module: RecordingModule, device: torch.device) -> None:
    tensor = torch.arange(3.0)
    wait = AsyncCopier(device).download([tensor], torch.device("cpu"))
    assert module.calls == [f"down waits for main {device.index}", "recorded on down", "down records"]
    assert torch.equal(wait()[0], tensor)
    assert module.calls[3:] == ["host waits for event of down"]


@each_device
def test_work_in_a_stream_has_ended_on_exit(module: RecordingModule, device: torch.device) -> None:
    module.names = iter(["stream"])
    stream = DeviceStream(device)
    event = stream.record_event()
    with stream:
        assert module.device == device.index
        assert module.current[device.index].name == "stream"
        stream.wait_event(event)
    assert module.device == CURRENT.index
    assert module.current[device.index].name == f"main {device.index}"
    main = f"main {device.index}"
    assert module.calls == [f"{main} records", f"stream waits for event of {main}", "host waits for stream"]


@each_device
def test_a_result_of_a_stream_lives_until_its_user_is_done(module: RecordingModule, device: torch.device) -> None:
    DeviceStream(device).record_stream(torch.empty(3, device="meta"))
    assert module.calls == [f"recorded on main {device.index}"]


@each_device
def test_timing_waits_for_the_device_that_is_timed(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[torch.device | None] = []

    class Module:
        @staticmethod
        def synchronize(device: torch.device | None = None) -> None:
            waits.append(device)

    monkeypatch.setattr(devices, "backend", lambda kind: Module)
    devices._probe_seconds(device, torch.float32, windows=1)
    assert waits == [device] * 10


def test_a_name_without_a_number_is_the_device_that_is_current_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread, or a later call of ``torch.cuda.set_device``, would take the name for another device."""

    class Module:
        is_available, device_count, current_device = (staticmethod(lambda value=value: value) for value in (True, 2, 1))

    monkeypatch.setattr(devices, "backend", lambda kind: Module if kind == "cuda" else None)
    assert devices.pick_device("cuda") == devices.pick_device("auto") == torch.device("cuda:1")
    assert devices.pick_device("cuda:0") == torch.device("cuda:0")


def test_the_next_tile_is_uploaded_before_the_previous_result_is_downloaded(module: RecordingModule) -> None:
    restorer = fake_restorer(tile_px=32, device=OTHER)
    clip = random_clip(4, 40, 64)
    results = restorer.restore(clip, cuts="off")
    tiles = restorer.runners[0].num_tiles(40, 64)
    assert tiles == 2 * 3
    events = [call for call in module.calls if call in ("up records", "down records", "host waits for event of down")]
    assert events[:3] == ["up records", "up records", "down records"]
    assert events[3:6] == ["up records", "down records", "host waits for event of down"]
    assert events[-3:] == ["down records", *["host waits for event of down"] * 2]
    assert events.count("up records") == events.count("down records") == tiles
    assert not any("main 0" in call for call in module.calls)
    module.calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_stream_module", lambda device: None)
        assert torch.equal(fake_restorer(tile_px=32).restore(clip, cuts="off"), results)
    assert not module.calls
