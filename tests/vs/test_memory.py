"""What is held, for how long, and what happens when VapourSynth runs short of memory."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

from tests.vs.fake import FakeInterpolator, FakeRestorer, Source, core, fetch, windowed
from vs_plugin.frame_cache import estimate_between, estimate_windows

ROOT = Path(__file__).parents[2]


class Watched:
    """Notes how much VapourSynth holds, above the start, whenever a window is restored or ``note`` is called."""

    def __init__(self) -> None:
        gc.collect()
        self._before, self.most_bytes = vs.core.used_cache_size, 0

    def note(self) -> None:
        self.most_bytes = max(self.most_bytes, vs.core.used_cache_size - self._before)

    def watch(self, restorer: Any) -> Any:
        work = restorer.restore_window

        def restore_window(*args: Any, **options: Any) -> Any:
            self.note()
            return work(*args, **options)

        restorer.restore_window = restore_window
        return restorer

    def run(self, clip: vs.VideoNode, requests: int) -> None:
        pending = []
        for n in range(clip.num_frames):
            pending.append(clip.get_frame_async(n))
            if len(pending) == requests:
                pending.pop(0).result().close()
            self.note()
        while pending:
            pending.pop(0).result().close()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("vs_format", [vs.RGBS, vs.RGBH])
@pytest.mark.parametrize("requests", [1, 12])
def test_the_estimate_bounds_the_frames_held(scale: int, vs_format: int, requests: int) -> None:
    vs.core.num_threads = 4
    watched = Watched()
    source = Source(60, width=320, height=180, vs_format=vs_format)
    watched.run(windowed(source.clip, watched.watch(FakeRestorer(8, 2, scale=scale))), requests)
    estimate = estimate_windows(source.clip, source.clip.format, scale, 8, 2)
    assert 0.7 * estimate < watched.most_bytes < 1.25 * estimate


def test_the_estimate_bounds_the_frames_held_by_several_devices() -> None:
    vs.core.num_threads = 8
    watched = Watched()
    source = Source(90, width=320, height=180)
    restorers = [watched.watch(FakeRestorer(8, 2, seconds=0.002)) for _ in range(2)]
    watched.run(windowed(source.clip, *restorers, num_streams=2), 32)
    estimate = estimate_windows(source.clip, source.clip.format, 1, 8, 2, num_lanes=4)
    assert 0.6 * estimate < watched.most_bytes < 1.25 * estimate


def test_frames_looked_at_before_a_run_are_let_go() -> None:
    def held_in_a_run(*looked_at: int) -> int:
        source, watched = Source(400, width=320, height=180), Watched()
        clip = windowed(source.clip, watched.watch(FakeRestorer(8, 2)))
        fetch(clip, looked_at)
        watched.most_bytes = 0
        watched.run(clip[:80], 1)
        return watched.most_bytes

    assert held_in_a_run(300, 200, 100, 350) < 1.05 * held_in_a_run()


@pytest.mark.parametrize("requests", [1, 12])
def test_the_estimate_bounds_the_frames_held_by_interpolation(requests: int) -> None:
    vs.core.num_threads = 4
    watched = Watched()
    source = Source(60, width=320, height=180)
    watched.run(windowed(source.clip, watched.watch(FakeInterpolator(2, seconds=0.002))), requests)
    on_the_way = requests * source.pixels[0].nbytes  # results that the reader has not taken
    estimate = estimate_between(source.clip, 4)
    assert 0.6 * estimate < watched.most_bytes < 1.25 * estimate + on_the_way


def test_nothing_is_restored_again_when_the_caches_are_emptied() -> None:
    source = Source(16, width=320, height=240)
    restorer = FakeRestorer(8, 2, seconds=2.2)  # VapourSynth empties all caches after 2 seconds over the limit
    expected = FakeRestorer(8, 2).restore(source.frames).numpy()
    vs.core.max_cache_size = 1
    got = fetch(windowed(source.clip, restorer))
    assert restorer.runs == {0: 1, 1: 1, 2: 1}
    assert all(np.array_equal(got[n], expected[n]) for n in got)


def test_the_warning_comes_before_the_memory_runs_out() -> None:
    messages: list[str] = []
    handle = vs.core.add_log_handler(lambda _, text: messages.append(text) if "vrt" in text else None)
    try:
        clip = core.std.BlankClip(None, 1920, 1080, vs.RGBS, 100)
        vs.core.max_cache_size = 8000
        windowed(clip, FakeRestorer(8, 2))
        assert messages == []
        vs.core.max_cache_size = 1000
        windowed(clip, FakeRestorer(8, 2))
    finally:
        vs.core.remove_log_handler(handle)
    assert len(messages) == 1
    assert "core.max_cache_size" in messages[0]
    assert "RGBH" in messages[0]


def test_the_model_goes_with_the_last_node() -> None:
    gc.collect()
    before = vs.core.used_cache_size
    source = Source(20, width=320, height=240)
    restorer = FakeRestorer(8, 2)
    gone = weakref.ref(restorer)
    first, second = windowed(source.clip, restorer), windowed(source.clip, restorer)
    fetch(first)
    fetch(second)
    del restorer, first, second, source
    gc.collect()
    assert gone() is None
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
from tests.vs.fake import FakeRestorer, Source, windowed
for _ in range(3):
    data = policy.api.create_environment()
    alive.append(data)
    with policy.api.wrap_environment(data).use():
        restorer = FakeRestorer(6, 2)
        gone = weakref.ref(restorer)
        clip = windowed(Source(20).clip, restorer)
        clip.get_frame(9).close()
        del restorer
        assert gone() is not None
    policy.api.destroy_environment(data)  # while the script still holds its clip
    alive.remove(data)
    gc.collect()
    assert gone() is None, "the model outlived its script"
    del clip
print("freed", file=sys.stderr)
"""


def test_the_model_goes_when_a_previewer_reloads() -> None:
    done = subprocess.run([sys.executable, "-c", RELOAD], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "freed" in done.stderr
    assert done.stdout == ""
