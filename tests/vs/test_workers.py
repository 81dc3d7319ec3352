"""Several devices, and several windows at once on one device: which worker restores what, and how often."""

import logging
import threading
from collections import Counter, defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, cast

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vs_plugin.filter
import vs_plugin.restoration
import vs_plugin.window_frame
import vs_plugin.workers
from tests.vs.helpers import (
    Passes,
    Source,
    core,
    differing,
    expected_frames,
    fake,
    fake_interpolator,
    fetch,
    filtered,
    max_requests,
    pixels,
    window_starts,
)
from tests.vs.real import as_clip
from vrt_core import RestoreOptions, Restorer, load_restorer
from vs_plugin import restore
from vs_plugin.frames import read_frames

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(1, 6, 2), (7, 6, 2), (10, 4, 0), (23, 6, 2), (24, 6, 3), (40, 12, 4)]  # frames, window, overlap


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("num_devices", [2, 3])
def test_devices_restore_windows_in_turn_each_once_if_requests_span_no_more_windows_than_are_cached(
    threads: int, order: int, num_devices: int
) -> None:
    vs.core.num_threads = threads
    for num_frames, window, overlap in SHAPES:
        source = Source(num_frames)
        restorers = [fake(window, overlap) for _ in range(num_devices)]
        expected, starts = expected_frames(restorers[0], source), window_starts(restorers[0], source)
        for requests in (1, max_requests(restorers[0], source, num_devices)):
            source.requests.clear()
            passes = [Passes(restorer) for restorer in restorers]
            frames = fetch(filtered(source.clip, *restorers), range(num_frames)[::order], requests=requests)
            assert differing(frames, expected) == []
            for i, recorded in enumerate(passes):
                assert recorded.starts(source) == Counter(starts[i::num_devices])
            if requests == 1:  # nothing is prefetched with several devices
                assert source.requests == dict.fromkeys(range(num_frames), 1)


@pytest.mark.parametrize("num_streams", [1, 2])
def test_windows_at_once(num_streams: int) -> None:
    vs.core.num_threads = 8
    barrier = threading.Barrier(2 * num_streams)  # waits until that many windows are being restored
    source, restorers = Source(40), [fake(6, 1), fake(6, 1)]
    expected = expected_frames(restorers[0], source)  # 8 windows
    for restorer in restorers:
        Passes(restorer, before=lambda _: barrier.wait(timeout=60))
    frames = fetch_all_at_once(filtered(source.clip, *restorers, num_streams=num_streams))
    assert len(frames) == 40
    assert differing(frames, expected) == []


def fetch_all_at_once(clip: vs.VideoNode) -> dict[int, np.ndarray]:
    """All frames, requested at once.

    VapourSynth may wake fewer threads than there are tasks, and then waits for those that run, here at the barrier.
    Any request from outside wakes another.
    """
    blank = core.std.BlankClip(None, 16, 16, vs.RGBS, 1)
    futures = {n: cast(Future[vs.VideoFrame], clip.get_frame_async(n)) for n in range(clip.num_frames)}
    while wait(futures.values(), timeout=0.1).not_done:
        blank.get_frame_async(0).result().close()
    return {n: pixels(future.result()).copy() for n, future in futures.items()}


def test_filters_share_the_one_thread_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vs_plugin.workers, "_executors", defaultdict(lambda: ThreadPoolExecutor(1)))
    vs.core.num_threads = 8
    source, restorer = Source(30), fake(4, 0)
    passes = Passes(restorer)
    fetch(core.std.StackHorizontal([filtered(source.clip, restorer) for _ in range(2)]), requests=4)
    assert set(passes.inputs.values()) == {2}
    assert len(passes.threads) == 1


def test_the_cores_are_left_to_the_network(monkeypatch: pytest.MonkeyPatch, three_threads: None) -> None:
    monkeypatch.setattr(vs_plugin.workers, "_executors", defaultdict(lambda: ThreadPoolExecutor(1)))
    vs.core.num_threads = 8
    in_callbacks: set[int] = set()
    in_network: set[int] = set()

    def read(frames: Any) -> torch.Tensor:
        in_callbacks.add(torch.get_num_threads())
        return read_frames(frames)

    for module in (vs_plugin.restoration, vs_plugin.window_frame):
        monkeypatch.setattr(module, "read_frames", read)
    restorer = fake(6, 2)
    passes = Passes(restorer, before=lambda _: in_network.add(torch.get_num_threads()))
    fetch(filtered(Source(40).clip, restorer), requests=20)
    assert in_callbacks == {1}
    assert in_network == {3}
    assert len(passes.threads) == 1


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("factor", [2, 4])
def test_devices_interpolate_in_turn(threads: int, factor: int) -> None:
    vs.core.num_threads = threads
    source = Source(21, props={9: {"_SceneChangePrev": 1}})
    restorers = [fake_interpolator(factor) for _ in range(2)]
    expected = expected_frames(restorers[0], source, [9])
    passes = [Passes(restorer) for restorer in restorers]
    frames = fetch(filtered(source.clip, *restorers), requests=8)
    assert differing(frames, expected) == []
    totals = [recorded.inputs.total() for recorded in passes]
    assert sum(totals) == 19 * (factor - 1)
    assert min(totals) >= 9 * (factor - 1)
    assert source.requests == dict.fromkeys(range(21), 1)


def test_a_real_network_on_two_devices(models: dict, clip: torch.Tensor) -> None:
    restorer = load_restorer(models["deblur"], device="cpu", window_frames=4, overlap_frames=2, tile_px=0)
    expected = restorer.restore(clip, cuts=[6]).numpy()
    source = as_clip(clip, vs.RGBS, cuts=(6,))
    options: dict[str, Any] = {"model": models["deblur"], "window": 4, "overlap": 2, "tile": 0, "cuts": "props"}
    assert differing(fetch(restore(source, device=["cpu", "cpu"], **options), requests=8), expected) == []
    frames = fetch(restore(source, device="cpu", num_streams=3, **options), [10, 5, 6], requests=2)
    assert differing(frames, expected) == []


def test_each_device_gets_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[Any, ...]] = []

    def load(_: object, options: RestoreOptions, *, device: str, memory_bytes: int | None) -> Restorer:
        loaded.append((device, options.compile, memory_bytes))
        return fake(6, 2)

    monkeypatch.setattr(vs_plugin.filter, "load_restorer", load)
    clip = core.std.BlankClip(None, 16, 16, vs.RGBS, 5)
    restore(clip, device=["cuda:0", "cuda:1"], compile=True)
    restore(clip, device="xpu")
    assert logging.getLogger("filelock").level == logging.WARNING  # otherwise it logs hundreds of lines
    assert loaded == [("cuda:0", True, None), ("cuda:1", True, None), ("xpu", False, None)]


def test_windows_at_once_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int | None] = []

    def load(*_: object, memory_bytes: int | None, **__: object) -> Restorer:
        limits.append(memory_bytes)
        return fake(6, 2)

    monkeypatch.setattr(vs_plugin.filter, "load_restorer", load)
    monkeypatch.setattr(vs_plugin.filter, "usable_bytes", lambda device: {"cpu": 1200}[device.type])
    clip = core.std.BlankClip(None, 16, 16, vs.RGBS, 5)
    restore(clip, device="cpu", num_streams=3)
    restore(clip, device=["cpu", "cpu"], num_streams=2)
    assert limits == [400, 300, 300]


@pytest.mark.gpu
def test_two_streams_of_a_gpu(models: dict, clip: torch.Tensor) -> None:
    source = as_clip(clip, vs.RGBS)
    options: dict[str, Any] = {"model": str(models["deblur"]), "window": 4, "overlap": 2, "tile": 0, "device": "cuda"}
    alone = fetch(restore(source, **options))
    frames = fetch(restore(source, num_streams=2, **options), requests=11)
    assert all(np.allclose(frames[n], alone[n], atol=1e-5) for n in frames)
