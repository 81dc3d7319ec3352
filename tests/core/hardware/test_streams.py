"""Transfers beside the network: what waits for what, on streams that only take notes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.core.fakes import fake_link, random_clip
from vrt_core.hardware import streams
from vrt_core.hardware.streams import Carrier, Lane


class Notes:
    """Stands in for ``torch.cuda``: streams and events that write down what is asked of them."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.names = iter(["up", "down", "lane", "another"])
        self.current: Any = Noting(self, "main")

    def Stream(self, device: torch.device) -> Any:  # noqa: N802 (torch's name)
        return Noting(self, next(self.names))

    def current_stream(self) -> Any:
        return self.current

    @contextmanager
    def stream(self, stream: Any):
        before, self.current = self.current, stream
        yield
        self.current = before


class Noting:
    def __init__(self, notes: Notes, name: str) -> None:
        self.notes, self.name = notes, name

    def record_event(self) -> Noting:
        self.notes.said.append(f"{self.name} marks")
        return Noting(self.notes, f"mark of {self.name}")

    def wait_event(self, event: Noting) -> None:
        self.notes.said.append(f"{self.name} waits for {event.name}")

    def wait_stream(self, stream: Noting) -> None:
        self.notes.said.append(f"{self.name} waits for {stream.name}")

    def synchronize(self) -> None:
        self.notes.said.append(f"host waits for {self.name}")


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    made = Notes()

    def pinned(tensor: Tensor) -> Tensor:
        made.said.append("pinned")
        return tensor.clone()

    monkeypatch.setattr(streams, "_streams_of", lambda device: made)
    monkeypatch.setattr(streams, "pin", pinned)
    monkeypatch.setattr(streams, "pinned_like", torch.empty_like)
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: made.said.append(f"kept for {stream.name}"))
    return made


def test_the_network_waits_for_what_is_sent_and_the_host_does_not(notes: Notes) -> None:
    sent = torch.arange(3.0)
    arrive = Carrier(torch.device("cpu")).upload([sent])
    assert notes.said == ["pinned", "up marks"]
    (found,) = arrive()
    assert torch.equal(found, sent)
    assert notes.said[2:] == ["main waits for mark of up", "kept for main"]


def test_what_is_fetched_waits_for_the_network(notes: Notes) -> None:
    made = torch.arange(3.0)
    arrive = Carrier(torch.device("cpu")).download([made], torch.device("cpu"))
    assert notes.said == ["down waits for main", "kept for down", "down marks"]
    assert torch.equal(arrive()[0], made)
    assert notes.said[3:] == ["host waits for mark of down"]


def test_a_lane_runs_beside_and_ends_done(notes: Notes) -> None:
    notes.names = iter(["lane"])
    lane = Lane(torch.device("cpu"))
    mark = lane.mark()
    with lane:
        assert notes.current.name == "lane"
        lane.wait_for(mark)
    assert notes.current.name == "main"
    assert notes.said == ["main marks", "lane waits for mark of main", "host waits for lane"]


def test_the_next_tile_is_sent_before_the_last_result_is_fetched(notes: Notes) -> None:
    link = fake_link(tile_px=32)
    clip = random_clip(4, 40, 64)
    found = link.restore(clip, cuts="off")
    tiles = link.num_tiles(40, 64)
    assert tiles == 2 * 3
    events = [note for note in notes.said if note in ("up marks", "down marks", "host waits for mark of down")]
    assert events[:3] == ["up marks", "up marks", "down marks"]
    assert events[3:6] == ["up marks", "down marks", "host waits for mark of down"]
    assert events[-3:] == ["down marks", *["host waits for mark of down"] * 2]
    assert events.count("up marks") == events.count("down marks") == tiles
    notes.said.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_streams_of", lambda device: None)
        assert torch.equal(fake_link(tile_px=32).restore(clip, cuts="off"), found)
    assert not notes.said
