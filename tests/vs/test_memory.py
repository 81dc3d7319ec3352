"""Frames in memory: how many, for how long, and what happens when VapourSynth is short of memory."""

import gc
import subprocess
import sys
import weakref
from collections import Counter
from pathlib import Path

import pytest
import vapoursynth as vs

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
    window_starts,
)
from vrt_core import Restorer
from vs_plugin.cache_sizes import interpolation_bytes, restoration_bytes
from vs_plugin.frame_cache import FrameCache

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("one_thread")


class PeakMeter:
    """Records the peak of VapourSynth's memory above the start, before each pass and after each frame."""

    def __init__(self, *restorers: Restorer) -> None:
        gc.collect()
        self._start_bytes, self.peak_bytes = vs.core.used_cache_size, 0

        for restorer in restorers:
            Passes(restorer, before=lambda _: self.measure())

    def measure(self) -> None:
        self.peak_bytes = max(self.peak_bytes, vs.core.used_cache_size - self._start_bytes)

    def run(self, clip: vs.VideoNode, requests: int) -> None:
        pending = []
        for n in range(clip.num_frames):
            pending.append(clip.get_frame_async(n))
            if len(pending) == requests:
                pending.pop(0).result().close()
            self.measure()
        while pending:
            pending.pop(0).result().close()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("vs_format", [vs.RGBS, vs.RGBH])
@pytest.mark.parametrize("requests", [1, 12])
def test_the_estimate_bounds_the_frames_in_memory(scale: int, vs_format: int, requests: int) -> None:
    vs.core.num_threads = 4
    restorer = fake(8, 2, scale=scale)
    meter = PeakMeter(restorer)
    source = Source(36, width=320, height=180, vs_format=vs_format)
    meter.run(filtered(source.clip, restorer), requests)
    estimate = restoration_bytes(source.clip, source.clip.format, scale, 8, 2)
    assert 0.7 * estimate < meter.peak_bytes < 1.25 * estimate


def test_the_estimate_bounds_the_frames_in_memory_with_several_devices() -> None:
    vs.core.num_threads = 8
    restorers = [fake(8, 2) for _ in range(2)]
    meter = PeakMeter(*restorers)
    source = Source(90, width=320, height=180)
    meter.run(filtered(source.clip, *restorers, num_streams=2), 32)
    estimate = restoration_bytes(source.clip, source.clip.format, 1, 8, 2, num_workers=4)
    # The full caches are 58 % of it; how many windows are in progress at once depends on the machine.
    assert 0.57 * estimate < meter.peak_bytes < 1.25 * estimate


def test_frames_requested_before_a_run_are_freed() -> None:
    def peak_of_a_run(*requested_before: int) -> int:
        source, restorer = Source(120, width=160, height=90), fake(8, 2)
        meter = PeakMeter(restorer)
        clip = filtered(source.clip, restorer)
        fetch(clip, requested_before)
        meter.peak_bytes = 0
        meter.run(clip[:36], 1)
        return meter.peak_bytes

    vs.core.num_threads = 1
    assert peak_of_a_run(110, 90, 80, 115) < 1.05 * peak_of_a_run()


@pytest.mark.parametrize("requests", [1, 12])
def test_the_estimate_bounds_the_frames_in_memory_with_interpolation(requests: int) -> None:
    vs.core.num_threads = 4
    restorer = fake_interpolator(2)
    meter = PeakMeter(restorer)
    source = Source(40, width=320, height=180)
    meter.run(filtered(source.clip, restorer), requests)
    in_flight = requests * source.pixels[0].nbytes  # results that the reader has not received
    estimate = interpolation_bytes(source.clip, 4)
    assert 0.6 * estimate < meter.peak_bytes < 1.25 * estimate + in_flight


def test_nothing_is_restored_again_when_the_caches_are_emptied() -> None:
    source, restorer = Source(16), fake(8, 2)
    expected = expected_frames(restorer, source)
    passes = Passes(restorer)
    clip, frames = filtered(source.clip, restorer), {}
    for n in range(16):
        frames |= fetch(clip, [n])
        vs.core.clear_cache()  # as VapourSynth does when it is over core.max_cache_size
    assert passes.starts(source) == Counter(window_starts(restorer, source))
    assert differing(frames, expected) == []


def test_the_frame_cache_evicts_delivered_frames_first_then_distant_ones_then_the_oldest() -> None:
    cache, frame = FrameCache(2), core.std.BlankClip(None, 16, 16).get_frame(0)

    def cached(*numbers: int) -> list[int]:
        return [n for n in numbers if cache.get(n) is not None]

    cache.put(5, frame, [50, 51])
    cache.put(4, frame, [40, 51])
    for n in (40, 51):
        cache.mark_delivered(n)
    cache.put(3, frame, [30])  # 4 is delivered, 5 is older but not
    assert cached(3, 4, 5) == [3, 5]
    cache.put(2, frame, [20])
    assert cached(2, 3, 5) == [2, 3]
    cache.put(100, frame, [1000])
    cache.put(101, frame, [1010])
    assert cached(2, 3, 100, 101) == [100, 101]
    cache.clear()
    assert cached(100, 101) == []


def test_the_warning_is_logged_before_memory_runs_out() -> None:
    messages: list[str] = []
    handle = vs.core.add_log_handler(lambda _, text: messages.append(text) if "vrt" in text else None)
    try:
        clip = core.std.BlankClip(None, 1920, 1080, vs.RGBS, 100)
        vs.core.max_cache_size = 8000
        filtered(clip, fake(8, 2))
        assert messages == []
        vs.core.max_cache_size = 1000
        filtered(clip, fake(8, 2))
    finally:
        vs.core.remove_log_handler(handle)
    assert len(messages) == 1
    assert "core.max_cache_size" in messages[0]
    assert "RGBH" in messages[0]


def test_the_model_is_freed_with_the_last_node() -> None:
    gc.collect()
    before = vs.core.used_cache_size
    source = Source(20, width=320, height=240)
    restorer = fake(8, 2)
    network = weakref.ref(restorer.runners[0].network)
    first, second = filtered(source.clip, restorer), filtered(source.clip, restorer)
    fetch(first)
    fetch(second)
    del restorer, first, second, source
    gc.collect()
    assert network() is None
    assert vs.core.used_cache_size == before


RELOAD = """
import gc, sys, weakref
import vapoursynth as vs

class Policy(vs.EnvironmentPolicy):
    current = None
    def on_policy_registered(self, special_api): self.api = special_api
    def on_policy_cleared(self): pass
    def get_current_environment(self): return self.current
    def set_environment(self, environment):
        before, self.current = self.current, environment
        return before
    def is_alive(self, environment): return environment in alive

alive = []
policy = Policy()
vs.register_policy(policy)
from tests.vs.helpers import Source, fake, filtered
for _ in range(3):
    data = policy.api.create_environment()
    alive.append(data)
    with policy.api.wrap_environment(data).use():
        restorer = fake(6, 2)
        network = weakref.ref(restorer.runners[0].network)
        clip = filtered(Source(20).clip, restorer)
        clip.get_frame(9).close()
        del restorer
        assert network() is not None
    policy.api.destroy_environment(data)  # while the script still has a reference to its clip
    alive.remove(data)
    gc.collect()
    assert network() is None, "the model outlived its script"
    del clip
print("freed", file=sys.stderr)
"""


def test_the_model_is_freed_when_a_previewer_reloads() -> None:
    done = subprocess.run([sys.executable, "-c", RELOAD], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "freed" in done.stderr
    assert done.stdout == ""
