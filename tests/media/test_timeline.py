"""Time stamps of restored and interpolated frames."""

import logging
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrt_media.timeline import Timeline

BASE = Fraction(1, 1000)


def stamps(source: list[int | None], factor: int, ahead: int = 3, duration: int = 40) -> list[int]:
    """Return the time stamps of all output frames, with the source `ahead` frames ahead of the output."""
    line = Timeline(time_base=BASE, frame_duration=duration, factor=factor)
    assert line.time_base == BASE / factor
    out: list[int] = []
    for n, pts in enumerate(source):
        line.push(pts)
        if n >= ahead:
            out += [line.stamp(factor * (n - ahead) + j) for j in range(factor)]
        assert len(line._stamps) <= ahead + 3
    return out + [line.stamp(i) for i in range(len(out), factor * len(source))]


@given(
    st.integers(-(10**6), 10**6),
    st.lists(st.integers(1, 5000), max_size=30),
    st.integers(1, 8),
)
def test_source_frames_keep_their_time(first: int, gaps: list[int], ahead: int) -> None:
    source = [first]
    for gap in gaps:
        source.append(source[-1] + gap)
    for factor in (1, 2, 4):
        out = stamps(list(source), factor, ahead)
        assert out[::factor] == [factor * pts for pts in source]
        assert all(a < b for a, b in pairwise(out))


def test_frames_between_lie_between() -> None:
    assert stamps([0, 40, 120], 2) == [0, 40, 80, 160, 240, 320]  # the last gap, 80, counts on
    assert stamps([0], 4) == [0, 40, 80, 120]


def test_missing_and_falling_stamps_are_repaired(caplog: pytest.LogCaptureFixture) -> None:
    assert stamps([None, None, None], 1) == [0, 40, 80]
    with caplog.at_level(logging.WARNING):
        assert stamps([0, 40, 30, 30, 200], 1) == [0, 40, 60, 80, 200]  # half frames, to catch up
    assert len(caplog.records) == 1


def test_stamps_catch_up_after_a_small_fall_and_go_on_after_a_large_one() -> None:
    assert stamps([0, 40, 80, 40, 80, 120, 160, 200], 1) == [0, 40, 80, 100, 120, 140, 160, 200]
    assert stamps([4000, 4040, 0, 40, 80], 1) == [4000, 4040, 4080, 4120, 4160]
