"""Several devices, and several windows at once on one: who does what, in which order, and once only."""

import logging
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vs_plugin.filter
import vs_plugin.restoration
import vs_plugin.window_frame
import vs_plugin.workers
from tests.vs.fake import FakeInterpolator, FakeRestorer, Source, core, fetch, windowed
from tests.vs.real import as_clip
from vrt_core import load_restorer
from vs_plugin import restore
from vs_plugin.frames import read_frames

SHAPES = [(1, 6, 2), (7, 6, 2), (10, 4, 0), (23, 6, 2), (24, 6, 3), (40, 12, 4)]  # frames, window, overlap


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("devices", [2, 3])
def test_devices_take_turns(threads: int, order: int, devices: int) -> None:
    vs.core.num_threads = threads
    asked_again = 0
    for num_frames, window, overlap in SHAPES:
        source = Source(num_frames)
        expected = FakeRestorer(window, overlap).restore(source.frames).numpy()
        for requests, seconds in ((1, 0.002), (30, 0.05)):  # at 2 ms, handing frames on would be what takes long
            source.asked.clear()
            restorers = [FakeRestorer(window, overlap, seconds=seconds) for _ in range(devices)]
            got = fetch(windowed(source.clip, *restorers), range(num_frames)[::order], requests=requests)
            assert all(np.array_equal(got[n], expected[n]) for n in range(num_frames))
            windows = len(restorers[0].plan(num_frames, 4, 6))
            for i, restorer in enumerate(restorers):
                assert restorer.runs == dict.fromkeys(range(i, windows, devices), 1)
            asked_again += source.asked.total() - num_frames
            if requests == 1:
                assert asked_again == 0
    assert asked_again <= 4  # see test_windows.py


@pytest.mark.parametrize("num_streams", [1, 2])
def test_windows_at_once(num_streams: int) -> None:
    vs.core.num_threads = 8
    gate = threading.Barrier(2 * num_streams)

    class Meeting(FakeRestorer):
        """Waits until as many windows as there may be are being restored at once."""

        def restore_window(self, window, frames, **options):
            gate.wait(timeout=60)
            return FakeRestorer(self.window, self.overlap).restore_window(window, frames)

    source = Source(40)
    expected = FakeRestorer(6, 1).restore(source.frames).numpy()  # 8 windows
    got = fetch(windowed(source.clip, Meeting(6, 1), Meeting(6, 1), num_streams=num_streams), requests=40)
    assert all(np.array_equal(got[n], expected[n]) for n in range(40))


def test_filters_take_turns_on_a_device() -> None:
    vs.core.num_threads = 8
    source, restorer = Source(30), FakeRestorer(4, 0, seconds=0.003)
    both = core.std.StackHorizontal([windowed(source.clip, restorer) for _ in range(2)])
    fetch(both, requests=20)
    assert restorer.most_at_once == 1


def test_the_cores_are_left_to_the_network(monkeypatch: pytest.MonkeyPatch, three_threads: None) -> None:
    monkeypatch.setattr(vs_plugin.workers, "_device_threads", defaultdict(lambda: ThreadPoolExecutor(1)))
    vs.core.num_threads = 8
    beside: set[int] = set()
    network: set[tuple[int, int]] = set()

    class Counting(FakeRestorer):
        def restore_window(self, window, frames, **options):
            network.add((threading.get_ident(), torch.get_num_threads()))
            return super().restore_window(window, frames, **options)

    def read(frames: Any) -> torch.Tensor:
        beside.add(torch.get_num_threads())
        return read_frames(frames)

    for module in (vs_plugin.restoration, vs_plugin.window_frame):
        monkeypatch.setattr(module, "read_frames", read)
    fetch(windowed(Source(40).clip, Counting(6, 2)), requests=20)
    assert beside == {1}
    assert [number for _, number in network] == [3], "all of one thread"


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("factor", [2, 4])
def test_devices_take_turns_at_interpolation(threads: int, factor: int) -> None:
    vs.core.num_threads = threads
    source = Source(21, props={9: {"_SceneChangePrev": 1}})
    expected = FakeInterpolator(factor).restore(source.frames, [9]).numpy()
    restorers = [FakeInterpolator(factor, seconds=0.002) for _ in range(2)]
    got = fetch(windowed(source.clip, *restorers), requests=16)
    assert all(np.array_equal(got[n], expected[n]) for n in got)
    runs = [restorer.runs.total() for restorer in restorers]
    assert sum(runs) == 19 * (factor - 1)
    assert min(runs) >= 9 * (factor - 1)
    assert source.asked.total() <= 22


def test_the_real_engine_on_two_devices(models: dict, clip: torch.Tensor) -> None:
    restorer = load_restorer(models["deblur"], device="cpu", window_frames=4, overlap_frames=2, tile_px=0)
    expected = restorer.restore(clip, cuts=[6]).numpy()
    source = as_clip(clip, vs.RGBS, cuts=(6,))
    options: dict[str, Any] = {"model": models["deblur"], "window": 4, "overlap": 2, "tile": 0, "cuts": "props"}
    got = fetch(restore(source, device=["cpu", "cpu"], **options), requests=8)
    assert all(np.array_equal(got[n], expected[n]) for n in got)
    got = fetch(restore(source, device="cpu", num_streams=3, **options), [10, 5, 6], requests=2)
    assert all(np.array_equal(got[n], expected[n]) for n in got)


def test_each_device_gets_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def load(*_: object, device: str, compile: bool, memory_bytes: int | None, **__: object) -> FakeRestorer:
        seen.append((device, compile, memory_bytes))
        return FakeRestorer(6, 2)

    monkeypatch.setattr(vs_plugin.filter, "load_restorer", load)
    clip = core.std.BlankClip(None, 16, 16, vs.RGBS, 5)
    restore(clip, device=["cuda:0", "cuda:1"], compile=True)
    restore(clip, device="xpu")
    assert logging.getLogger("filelock").level == logging.WARNING  # or hundreds of lines on stderr
    assert seen == [("cuda:0", True, None), ("cuda:1", True, None), ("xpu", False, None)]


def test_windows_at_once_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []

    def load(*_: object, memory_bytes: int | None, **__: object) -> FakeRestorer:
        seen.append(memory_bytes)
        return FakeRestorer(6, 2)

    monkeypatch.setattr(vs_plugin.filter, "load_restorer", load)
    monkeypatch.setattr(vs_plugin.filter, "usable_bytes", lambda device: {"cpu": 1200}[device.type])
    clip = core.std.BlankClip(None, 16, 16, vs.RGBS, 5)
    restore(clip, device="cpu", num_streams=3)
    restore(clip, device=["cpu", "cpu"], num_streams=2)
    assert seen == [400, 300, 300]


@pytest.mark.gpu
def test_two_streams_of_a_gpu(models: dict, clip: torch.Tensor) -> None:
    source = as_clip(clip, vs.RGBS)
    options: dict[str, Any] = {"model": str(models["deblur"]), "window": 4, "overlap": 2, "tile": 0, "device": "cuda"}
    alone = fetch(restore(source, **options))
    got = fetch(restore(source, num_streams=2, **options), requests=11)
    assert all(np.allclose(got[n], alone[n], atol=1e-5) for n in got)
