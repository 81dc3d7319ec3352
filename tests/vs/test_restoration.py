"""The graph of windows: every frame depends on its number alone, and how often frames and windows are computed."""

import random
import threading
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vs_plugin.restoration
from tests.vs.helpers import (
    Passes,
    Source,
    core,
    cut_flags,
    differing,
    expected_frames,
    fake,
    fetch,
    filtered,
    max_requests,
    window_starts,
)
from vs_plugin.cache_sizes import window_cache_frames
from vs_plugin.restoration import WindowGrid

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [  # frames, window, overlap
    (1, 6, 2),
    (2, 6, 2),
    (5, 6, 2),
    (6, 6, 2),
    (7, 6, 2),
    (9, 2, 1),
    (10, 4, 0),
    (11, 1, 0),
    (23, 6, 2),
    (24, 6, 3),
    (31, 8, 2),
    (40, 12, 4),
]
NO_PREFETCH = 16
"""VapourSynth threads with which no window prefetches the frames of the next: more than any stride."""


def ordered(num_frames: int, order: str) -> list[int]:
    numbers = list(range(num_frames))
    if order == "backward":
        numbers.reverse()
    elif order == "random":
        random.Random(num_frames).shuffle(numbers)
    return numbers


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("order", ["forward", "backward", "random"])
def test_frames_depend_on_their_number_alone(threads: int, order: str) -> None:
    vs.core.num_threads = threads
    for num_frames, window, overlap in SHAPES:
        source, restorer = Source(num_frames), fake(window, overlap)
        expected = expected_frames(restorer, source)
        for requests in (1, 5, 64):
            passes = Passes(restorer)
            frames = fetch(filtered(source.clip, restorer), ordered(num_frames, order), requests=requests)
            assert differing(frames, expected) == [], (num_frames, window, overlap, requests)
            assert len(passes.threads) == 1, "windows were restored at once"


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_each_window_is_restored_once_if_requests_span_no_more_windows_than_are_cached(
    threads: int, order: str
) -> None:
    """With more requests in flight, a window that is restored early can be evicted before its turn."""
    vs.core.num_threads = threads
    for num_frames, window, overlap in SHAPES[5:]:
        source, restorer = Source(num_frames), fake(window, overlap)
        for requests in (1, max_requests(restorer, source)):
            passes = Passes(restorer)
            fetch(filtered(source.clip, restorer), ordered(num_frames, order), requests=requests)
            assert passes.starts(source) == Counter(window_starts(restorer, source)), (num_frames, window, requests)


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_each_frame_is_requested_once_if_requests_span_less_than_a_stride(order: str) -> None:
    """The source cache then holds all windows in progress; with more, VapourSynth may evict a frame before its turn.

    Without prefetching: a prefetched frame is requested twice if the window asks for it just as it arrives, because
    VapourSynth does not combine requests from outside with its own.
    """
    vs.core.num_threads = NO_PREFETCH
    for num_frames, window, overlap in SHAPES[5:]:
        source, restorer = Source(num_frames), fake(window, overlap)
        for requests in {1, window - overlap - max(overlap, 1) + 1}:
            source.requests.clear()
            fetch(filtered(source.clip, restorer), ordered(num_frames, order), requests=requests)
            assert source.requests == dict.fromkeys(range(num_frames), 1), (num_frames, window, requests)


def test_one_thread_requests_each_frame_once_with_prefetching() -> None:
    vs.core.num_threads = 1
    for num_frames, window, overlap in SHAPES[5:]:
        source = Source(num_frames)
        fetch(filtered(source.clip, fake(window, overlap)))
        assert source.requests == dict.fromkeys(range(num_frames), 1), (num_frames, window, overlap)


def test_a_window_that_is_restored_early_is_cached_until_its_turn() -> None:
    source, restorer = Source(40), fake(12, 4)  # 5 windows, of which 3 are cached
    passes = Passes(restorer)
    # windows 1, 4, 3, 2, 0: requests that overtake each other have this effect
    fetch(filtered(source.clip, restorer), [15, *range(39, 15, -1), *range(14, -1, -1)])
    assert passes.starts(source) == Counter(window_starts(restorer, source))


def test_several_consumers_share_a_window() -> None:
    source, restorer = Source(45), fake(12, 2)
    expected = torch.from_numpy(expected_frames(restorer, source))
    clip = core.std.BlankClip(source.clip, keep=True)
    by_hand = core.std.ModifyFrame(clip, clip, lambda n, f: as_frame(f, expected[n]))
    for consume in (
        lambda clip: clip.std.Merge(clip.std.FlipVertical()),
        lambda clip: clip.std.AverageFrames([1] * 5),
        lambda clip: core.std.StackHorizontal([clip, source.clip]),
    ):
        passes = Passes(restorer)
        frames = fetch(consume(filtered(source.clip, restorer)), requests=4)
        assert passes.starts(source) == Counter(window_starts(restorer, source))
        reference = fetch(consume(by_hand))
        assert [n for n in range(45) if not np.array_equal(frames[n], reference[n])] == []


def as_frame(template: vs.VideoFrame, rgb: torch.Tensor) -> vs.VideoFrame:
    frame = template.copy()
    for plane in range(3):
        np.copyto(np.asarray(frame[plane]), rgb[plane].numpy())
    return frame


def test_readers_that_do_not_wait_for_each_other_get_the_same_frames() -> None:
    vs.core.num_threads = 4
    source, restorer = Source(60), fake(8, 2)
    expected = expected_frames(restorer, source)
    clip = filtered(source.clip, restorer)
    orders = [range(60), range(59, -1, -1), ordered(60, "random")]
    with ThreadPoolExecutor(3) as pool:
        for frames in pool.map(lambda order: fetch(clip, order, requests=5), orders):
            assert differing(frames, expected) == []


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_chained_filters_neither_deadlock_nor_differ(threads: int) -> None:
    vs.core.num_threads = threads
    source = Source(31)
    first, second = fake(8, 2), fake(5, 1, scale=2)
    expected = second.restore(first.restore(source.frames, cuts=[]), cuts=[]).numpy()
    clip = filtered(filtered(source.clip, first), second)
    assert differing(fetch(clip, requests=31), expected) == []


@pytest.mark.parametrize("flags", ["previous", "next", "both"])
def test_cuts_are_read_from_properties(flags: str) -> None:
    rng = random.Random(flags)
    for num_frames, window, overlap in SHAPES:
        for _ in range(2 if num_frames > 1 else 1):
            cuts = sorted(rng.sample(range(1, num_frames), min(rng.choice((1, 2, 6)), num_frames - 1)))
            source, restorer = Source(num_frames, props=cut_flags(cuts, flags)), fake(window, overlap)
            expected = expected_frames(restorer, source, cuts)
            frames = fetch(filtered(source.clip, restorer), requests=3)
            assert differing(frames, expected) == [], (num_frames, window, overlap, cuts)


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_cut_at_every_position_of_a_cross_fade(cut: int) -> None:
    # 14 frames, window 6, overlap 3: fades over [3, 6), [6, 9), [9, 12), and cuts at either end of each of them
    for props in ({cut: {"_SceneChangePrev": 1}}, {cut - 1: {"_SceneChangeNext": 1}}):
        source, restorer = Source(14, props=props), fake(6, 3)
        expected = expected_frames(restorer, source, [cut])
        assert differing(fetch(filtered(source.clip, restorer)), expected) == []


def test_cuts_off_ignores_the_properties() -> None:
    source, restorer = Source(14, props={5: {"_SceneChangePrev": 1}}), fake(6, 3)
    expected = expected_frames(restorer, source)
    assert differing(fetch(filtered(source.clip, restorer, cuts="off")), expected) == []


@pytest.mark.parametrize(("cuts", "first", "stop"), [("props", 11, 19), ("off", 12, 18)])
def test_a_seek_requests_one_window(cuts: str, first: int, stop: int) -> None:
    source = Source(40)
    fetch(filtered(source.clip, fake(6, 2), cuts=cuts), [14])  # window 3 alone: no fade there
    assert sorted(source.requests) == list(range(first, stop))


def test_an_endless_clip_takes_no_memory_to_build() -> None:
    clip = core.std.BlankClip(None, 64, 64, vs.RGBS, 134_217_727, keep=True)
    filtered(clip[:100], fake(8, 2))  # whatever is imported or cached once
    restorer = fake(8, 2)
    tracemalloc.start()
    try:
        restored = filtered(clip, restorer)
        assert tracemalloc.get_traced_memory()[1] < 2**20  # a list of its frames would take a gigabyte
    finally:
        tracemalloc.stop()
    assert restored.num_frames == clip.num_frames
    assert set(fetch(restored, [0, 6, 70_000_000, 134_217_726])) == {0, 6, 70_000_000, 134_217_726}


def test_the_next_frames_are_fetched_while_a_window_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    vs.core.num_threads = 2
    source, restorer = Source(40), fake(8, 2)
    plan = restorer.plan(40, 4, 6)
    stops = [min(window.stop + 1, 40) for window in plan]  # a frame more is read, for its properties
    num_prefetched = iter([0, *(b - a for a, b in pairwise(stops[1:])), 0])
    arrived, discard = threading.Semaphore(0), vs_plugin.restoration._discard

    def receive(frame: vs.VideoFrame | None, error: Exception | None) -> None:
        discard(frame, error)
        arrived.release()

    def wait_for_prefetched(_: object) -> None:
        for _ in range(next(num_prefetched)):
            assert arrived.acquire(timeout=60), "not fetched while the window is restored"

    monkeypatch.setattr(vs_plugin.restoration, "_discard", receive)
    passes = Passes(restorer, wait_for_prefetched)
    fetch(filtered(source.clip, restorer))
    assert passes.starts(source) == Counter(window_starts(restorer, source))
    assert source.requests == dict.fromkeys(range(40), 1)


def test_nothing_is_prefetched_after_a_jump() -> None:
    vs.core.num_threads = 2
    source = Source(100)
    fetch(filtered(source.clip, fake(8, 0), cuts="off"), [81, 41, 25])
    assert sorted(source.requests) == [*range(24, 32), *range(40, 48), *range(80, 88)]


def test_no_cached_window_is_prefetched_again() -> None:
    """Requests that overtake each other in a backward run restore window k - 1 before k; k + 1 is done by then."""
    vs.core.num_threads = 2
    source = Source(100)
    fetch(filtered(source.clip, fake(8, 0), cuts="off"), [81, 65, 73])  # windows 10, 8, 9
    assert source.requests == dict.fromkeys(range(64, 88), 1)


@pytest.mark.parametrize(("window", "overlap"), [(12, 2), (8, 0)])
def test_scrubbing_restores_no_more_windows_than_an_lru_cache(window: int, overlap: int) -> None:
    """1000 frames, requested at random."""
    frames = random.Random(0).choices(range(1000), k=150)
    source, restorer = Source(1000), fake(window, overlap)
    passes = Passes(restorer)
    grid, num_cached = WindowGrid.from_plan(restorer.plan(1000, 4, 6)), window_cache_frames(overlap)
    lru: list[int] = []
    max_passes = 0
    for n in frames:
        first, last = max(n - grid.overlap, 0) // grid.stride, min(n // grid.stride, grid.num_windows - 1)
        for k in range(first, last + 1):
            max_passes += k not in lru
            lru = [*(other for other in lru if other != k), k][-num_cached:]
    assert len(fetch(filtered(source.clip, restorer), frames)) == len(set(frames))
    assert passes.inputs.total() <= max_passes <= 1.3 * len(frames)


@pytest.mark.parametrize(("threads", "max_per_frame"), [(1, 1), (NO_PREFETCH, 2)])
def test_detecting_cuts_requests_each_frame_once_in_one_thread_and_at_most_twice_in_several(
    threads: int, max_per_frame: int
) -> None:
    """Each frame is compared with its predecessor and its successor; several threads may do so far apart."""
    vs.core.num_threads = threads
    source = Source(60)
    fetch(filtered(source.clip, fake(12, 2), cuts="auto"), requests=9)
    assert sorted(source.requests) == list(range(60))
    assert max(source.requests.values()) <= max_per_frame


def test_the_warning_about_interlacing_is_logged_once() -> None:
    messages: list[str] = []
    handle = vs.core.add_log_handler(lambda _, text: messages.append(text) if "vrt" in text else None)
    try:
        for field_based in (0, 2):
            source = Source(30, props={n: {"_FieldBased": field_based} for n in range(30)})
            fetch(filtered(source.clip, fake(6, 2)))
    finally:
        vs.core.remove_log_handler(handle)
    assert len(messages) == 1
    assert "deinterlace it first" in messages[0]
