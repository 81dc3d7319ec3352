"""Copies beside the network: what waits for what, on fake streams that record calls."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.fake_restorers import fake_restorer, random_clip
from vrt_core.hardware import streams
from vrt_core.hardware.streams import AsyncCopier, DeviceStream


class RecordingModule:
    """Fake ``torch.cuda``: streams and events that record calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.names = iter(["up", "down", "stream", "another"])
        self.current: Any = RecordingStream(self, "main")

    def Stream(self, device: torch.device) -> Any:  # noqa: N802 (torch's name)
        return RecordingStream(self, next(self.names))

    def current_stream(self) -> Any:
        return self.current

    @contextmanager
    def stream(self, stream: Any):
        before, self.current = self.current, stream
        yield
        self.current = before


class RecordingStream:
    def __init__(self, module: RecordingModule, name: str) -> None:
        self.module, self.name = module, name

    def record_event(self) -> RecordingStream:
        self.module.calls.append(f"{self.name} records")
        return RecordingStream(self.module, f"event of {self.name}")

    def wait_event(self, event: RecordingStream) -> None:
        self.module.calls.append(f"{self.name} waits for {event.name}")

    def wait_stream(self, stream: RecordingStream) -> None:
        self.module.calls.append(f"{self.name} waits for {stream.name}")

    def synchronize(self) -> None:
        self.module.calls.append(f"host waits for {self.name}")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> RecordingModule:
    module = RecordingModule()

    def pinned(tensor: Tensor) -> Tensor:
        module.calls.append("pinned")
        return tensor.clone()

    monkeypatch.setattr(streams, "_stream_module", lambda device: module)
    monkeypatch.setattr(streams, "pin", pinned)
    monkeypatch.setattr(streams, "pinned_like", torch.empty_like)
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: module.calls.append(f"recorded on {stream.name}"))
    return module


def test_the_network_waits_for_an_upload_and_the_host_does_not(module: RecordingModule) -> None:
    tensor = torch.arange(3.0)
    wait = AsyncCopier(torch.device("cpu")).upload([tensor])
    assert module.calls == ["pinned", "up records"]
    (results,) = wait()
    assert torch.equal(results, tensor)
    assert module.calls[2:] == ["main waits for event of up", "recorded on main"]


def test_a_download_waits_for_the_network(module: RecordingModule) -> None:
    tensor = torch.arange(3.0)
    wait = AsyncCopier(torch.device("cpu")).download([tensor], torch.device("cpu"))
    assert module.calls == ["down waits for main", "recorded on down", "down records"]
    assert torch.equal(wait()[0], tensor)
    assert module.calls[3:] == ["host waits for event of down"]


def test_work_in_a_stream_has_ended_on_exit(module: RecordingModule) -> None:
    module.names = iter(["stream"])
    stream = DeviceStream(torch.device("cpu"))
    event = stream.record_event()
    with stream:
        assert module.current.name == "stream"
        stream.wait_event(event)
    assert module.current.name == "main"
    assert module.calls == ["main records", "stream waits for event of main", "host waits for stream"]


def test_the_next_tile_is_uploaded_before_the_previous_result_is_downloaded(module: RecordingModule) -> None:
    restorer = fake_restorer(tile_px=32)
    clip = random_clip(4, 40, 64)
    results = restorer.restore(clip, cuts="off")
    tiles = restorer.runners[0].num_tiles(40, 64)
    assert tiles == 2 * 3
    events = [call for call in module.calls if call in ("up records", "down records", "host waits for event of down")]
    assert events[:3] == ["up records", "up records", "down records"]
    assert events[3:6] == ["up records", "down records", "host waits for event of down"]
    assert events[-3:] == ["down records", *["host waits for event of down"] * 2]
    assert events.count("up records") == events.count("down records") == tiles
    module.calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_stream_module", lambda device: None)
        assert torch.equal(fake_restorer(tile_px=32).restore(clip, cuts="off"), results)
    assert not module.calls
