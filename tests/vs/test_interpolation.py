"""Interpolated frames: order, time, properties, and how often frames are computed."""

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import vapoursynth as vs

from tests.vs.helpers import (
    Passes,
    Source,
    core,
    cut_flags,
    differing,
    expected_frames,
    fake_interpolator,
    fetch,
    filtered,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CUTS = [7, 8, 15]


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("order", ["forward", "backward", "random"])
@pytest.mark.parametrize("factor", [2, 4])
def test_frames_depend_on_their_number_alone(threads: int, order: str, factor: int) -> None:
    vs.core.num_threads = threads
    for num_frames in (1, 2, 3, 5, 22):
        source, cuts = Source(num_frames, props=cut_flags(CUTS)), [c for c in CUTS if c < num_frames]
        restorer = fake_interpolator(factor)
        expected = expected_frames(restorer, source, cuts)
        numbers = list(range(factor * num_frames))
        if order == "backward":
            numbers.reverse()
        elif order == "random":
            random.Random(num_frames).shuffle(numbers)
        for requests in (1, 5, 16):
            passes = Passes(restorer)
            frames = fetch(filtered(source.clip, restorer), numbers, requests=requests)
            assert differing(frames, expected) == [], (num_frames, requests)
            assert len(passes.threads) <= 1, "frames were interpolated at once"


@pytest.mark.parametrize("flags", ["previous", "next"])
def test_one_flag_is_enough(flags: str) -> None:
    source, restorer = Source(22, props=cut_flags(CUTS, flags)), fake_interpolator(4)
    expected = expected_frames(restorer, source, CUTS)
    assert differing(fetch(filtered(source.clip, restorer), requests=4), expected) == []


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("requests", [1, 8])
def test_up_to_8_requests_in_flight_compute_and_request_each_frame_once(
    threads: int, order: int, factor: int, requests: int
) -> None:
    """8 output frames depend on no more source frames than are cached."""
    vs.core.num_threads = threads
    source, restorer = Source(50), fake_interpolator(factor)
    passes = Passes(restorer)
    fetch(filtered(source.clip, restorer), range(50 * factor)[::order], requests=requests)
    assert set(passes.inputs.values()) == {1}
    assert passes.inputs.total() == 49 * (factor - 1)  # the last frame is held
    assert source.requests == dict.fromkeys(range(50), 1)


def test_a_frame_of_the_clip_waits_for_no_network() -> None:
    source, restorer = Source(50), fake_interpolator(2)
    passes = Passes(restorer)
    fetch(filtered(source.clip, restorer), [20, 44])
    assert passes.inputs.total() == 0
    assert sorted(source.requests) == [10, 22]


def test_consumers_share_frames() -> None:
    source, restorer = Source(20), fake_interpolator(2)
    passes = Passes(restorer)
    clip: Any = filtered(source.clip, restorer)
    fetch(clip.std.AverageFrames([1] * 5).std.Merge(clip.std.FlipVertical()))
    assert set(passes.inputs.values()) == {1}
    assert passes.inputs.total() == 19


def test_nothing_is_computed_again_when_the_caches_are_emptied() -> None:
    source, restorer = Source(4), fake_interpolator(4)
    passes = Passes(restorer)
    clip: Any = filtered(source.clip, restorer)
    for n in range(16):
        clip.get_frame(n).close()
        vs.core.clear_cache()  # as VapourSynth does when it is over core.max_cache_size
    assert passes.inputs.total() == 9


@pytest.mark.parametrize("factor", [2, 4])
def test_time_and_flags(factor: int) -> None:
    lengths = [Fraction(1 + n % 3, 24) for n in range(16)]  # a variable frame rate
    starts = [sum(lengths[:n], Fraction(0)) for n in range(17)]
    props: dict[int, Any] = cut_flags([c for c in CUTS if c < 16])
    for n, length in enumerate(lengths):
        props.setdefault(n, {}).update(
            _DurationNum=length.numerator, _DurationDen=length.denominator, _AbsoluteTime=float(starts[n])
        )
    source = Source(16, props=props)
    clip = filtered(core.std.AssumeFPS(source.clip, fpsnum=24), fake_interpolator(factor))
    assert clip.num_frames == 16 * factor
    assert clip.fps == 24 * factor
    frames: list[Any] = [dict(frame.props) for frame in clip.frames()]
    # AssumeFPS sets the same duration on all frames; _AbsoluteTime stays that of the source
    assert {(f["_DurationNum"], f["_DurationDen"]) for f in frames} == {(1, 24 * factor)}
    assert [n for n, f in enumerate(frames) if f.get("_SceneChangePrev")] == [c * factor for c in (0, *CUTS)]
    assert [n for n, f in enumerate(frames) if f.get("_SceneChangeNext")] == [c * factor - 1 for c in CUTS]

    variable = filtered(source.clip, fake_interpolator(factor))
    frames = [dict(frame.props) for frame in variable.frames()]
    durations = [Fraction(f["_DurationNum"], f["_DurationDen"]) for f in frames]
    assert durations == [length / factor for length in lengths for _ in range(factor)]
    assert sum(durations) == sum(lengths)
    times = [f["_AbsoluteTime"] for f in frames]
    assert times == pytest.approx([float(sum(durations[:n], Fraction(0))) for n in range(len(durations))], abs=1e-9)
    assert all(a < b for a, b in pairwise(times))
    assert [f["Number"] for f in frames] == [n // factor for n in range(16 * factor)]


def test_a_clip_without_a_frame_rate_gets_none() -> None:
    source = Source(6)
    rateless = core.std.Splice([source.clip, core.std.AssumeFPS(source.clip, fpsnum=25)])
    assert rateless.fps == 0
    clip = filtered(rateless, fake_interpolator(2))
    assert clip.fps == 0
    frames: list[Any] = [dict(frame.props) for frame in clip.frames()]
    durations = [Fraction(f["_DurationNum"], f["_DurationDen"]) for f in frames]
    assert durations == [Fraction(1001, 48000)] * 12 + [Fraction(1, 50)] * 12


def test_an_endless_clip_can_be_read_anywhere() -> None:
    clip = core.std.BlankClip(None, 64, 64, vs.RGBS, 134_217_727, keep=True)
    restored = filtered(clip, fake_interpolator(4))
    assert restored.num_frames == 4 * clip.num_frames
    numbers = [0, 5, 300_000_001, restored.num_frames - 1]
    assert list(fetch(restored, numbers)) == numbers
