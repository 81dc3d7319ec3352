"""Frames in between: their order, their time, their properties, and nothing done twice."""

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.vs.fake import FakeInterpolator, Source, core, fetch, flagged, windowed

CUTS = [7, 8, 15]


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("order", ["forward", "backward", "random"])
@pytest.mark.parametrize("factor", [2, 4])
def test_frames_depend_on_their_number_alone(threads: int, order: str, factor: int) -> None:
    vs.core.num_threads = threads
    for num_frames in (1, 2, 3, 5, 22):
        source, cuts = Source(num_frames, props=flagged(CUTS)), [c for c in CUTS if c < num_frames]
        expected = FakeInterpolator(factor).restore(source.frames, cuts).numpy()
        numbers = list(range(factor * num_frames))
        if order == "backward":
            numbers.reverse()
        elif order == "random":
            random.Random(num_frames).shuffle(numbers)
        for requests in (1, 5, 16):
            restorer = FakeInterpolator(factor)
            got = fetch(windowed(source.clip, restorer), numbers, requests=requests)
            assert [n for n in numbers if not np.array_equal(got[n], expected[n])] == [], (num_frames, requests)
            assert restorer.most_at_once == 1


@pytest.mark.parametrize("flags", ["previous", "next"])
def test_one_flag_is_enough(flags: str) -> None:
    source = Source(22, props=flagged(CUTS, flags))
    expected = FakeInterpolator(4).restore(source.frames, CUTS).numpy()
    got = fetch(windowed(source.clip, FakeInterpolator(4)), requests=4)
    assert [n for n in got if not np.array_equal(got[n], expected[n])] == []


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("factor", [2, 4])
def test_nothing_is_done_twice_in_a_run_through_the_clip(threads: int, order: int, factor: int) -> None:
    vs.core.num_threads = threads
    for requests in (1, threads, 2 * threads):
        source, restorer = Source(50), FakeInterpolator(factor, seconds=0.002)
        fetch(windowed(source.clip, restorer), range(50 * factor)[::order], requests=requests)
        assert restorer.runs.total() == 49 * (factor - 1)  # the last frame is held
        assert source.asked.total() <= 50 + (requests > 1)


def test_a_frame_of_the_clip_waits_for_no_network() -> None:
    source, restorer = Source(50), FakeInterpolator(2)
    fetch(windowed(source.clip, restorer), [20, 44])
    assert restorer.runs.total() == 0
    assert sorted(source.asked) == [10, 22]


def test_consumers_share_frames() -> None:
    source, restorer = Source(20), FakeInterpolator(2)
    clip: Any = windowed(source.clip, restorer)
    fetch(clip.std.AverageFrames([1] * 5).std.Merge(clip.std.FlipVertical()), requests=4)
    assert set(restorer.runs.values()) == {1}


def test_nothing_is_made_again_when_the_caches_are_emptied() -> None:
    source, restorer = Source(4, width=320, height=240), FakeInterpolator(4, seconds=2.2)
    vs.core.max_cache_size = 1
    fetch(windowed(source.clip, restorer))
    assert restorer.runs.total() == 9


@pytest.mark.parametrize("factor", [2, 4])
def test_time_and_flags(factor: int) -> None:
    lengths = [Fraction(1 + n % 3, 24) for n in range(16)]  # a variable rate
    starts = [sum(lengths[:n], Fraction(0)) for n in range(17)]
    props: dict[int, Any] = flagged([c for c in CUTS if c < 16])
    for n, length in enumerate(lengths):
        props.setdefault(n, {}).update(
            _DurationNum=length.numerator, _DurationDen=length.denominator, _AbsoluteTime=float(starts[n])
        )
    source = Source(16, props=props)
    clip = windowed(core.std.AssumeFPS(source.clip, fpsnum=24), FakeInterpolator(factor))
    assert clip.num_frames == 16 * factor
    assert clip.fps == 24 * factor
    frames: list[Any] = [dict(frame.props) for frame in clip.frames()]
    # AssumeFPS gave each frame the same duration; the times stay those of the source, and so do their sums
    assert {(f["_DurationNum"], f["_DurationDen"]) for f in frames} == {(1, 24 * factor)}
    assert [n for n, f in enumerate(frames) if f.get("_SceneChangePrev")] == [c * factor for c in (0, *CUTS)]
    assert [n for n, f in enumerate(frames) if f.get("_SceneChangeNext")] == [c * factor - 1 for c in CUTS]

    variable = windowed(source.clip, FakeInterpolator(factor))
    frames = [dict(frame.props) for frame in variable.frames()]
    made = [Fraction(f["_DurationNum"], f["_DurationDen"]) for f in frames]
    assert made == [length / factor for length in lengths for _ in range(factor)]
    assert sum(made) == sum(lengths)
    at = [f["_AbsoluteTime"] for f in frames]
    assert at == pytest.approx([float(sum(made[:n], Fraction(0))) for n in range(len(made))], abs=1e-9)
    assert all(a < b for a, b in pairwise(at))
    assert [f["Number"] for f in frames] == [n // factor for n in range(16 * factor)]


def test_a_clip_without_a_rate_keeps_none() -> None:
    source = Source(6)
    rateless = core.std.Splice([source.clip, core.std.AssumeFPS(source.clip, fpsnum=25)])
    assert rateless.fps == 0
    clip = windowed(rateless, FakeInterpolator(2))
    assert clip.fps == 0
    frames: list[Any] = [dict(frame.props) for frame in clip.frames()]
    durations = [Fraction(f["_DurationNum"], f["_DurationDen"]) for f in frames]
    assert durations == [Fraction(1001, 48000)] * 12 + [Fraction(1, 50)] * 12


def test_an_endless_clip_costs_nothing_to_build() -> None:
    clip = core.std.BlankClip(None, 64, 64, vs.RGBS, 134_217_727, keep=True)
    restored = windowed(clip, FakeInterpolator(4))
    assert restored.num_frames == 4 * clip.num_frames
    numbers = [0, 5, 300_000_001, restored.num_frames - 1]
    assert list(fetch(restored, numbers)) == numbers


def test_held_frames_are_told_from_equal_ones() -> None:
    """The fake and its plan agree with the core's on what is held."""
    frames = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    doubled = FakeInterpolator(2).restore(frames, [2])[:, 0, 0, 0].tolist()
    assert doubled[::2] == [0, 1, 2, 3]
    assert doubled[3] == 1
    assert doubled[7] == 3
    assert 0 < doubled[1] < 1
