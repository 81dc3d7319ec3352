"""Streams that begin in the middle of a clip: the same frames as of the whole clip, with less work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.helpers.fake_restorers import fake_restorer, fake_runner, network_of, random_clip
from vrt_core import InputError
from vrt_core.restorer import Restorer

KINDS = {
    "one": lambda: [fake_runner(window=5, overlap=2)],
    "long": lambda: [fake_runner(window=12, overlap=3)],
    "no overlap": lambda: [fake_runner(window=4, overlap=0)],
    "interpolate": lambda: [fake_runner(interpolates=True)],
    "interpolate x4": lambda: [fake_runner(interpolates=True)] * 2,
    "enlarge, interpolate": lambda: [fake_runner(scale=2, window=5, overlap=1), fake_runner(interpolates=True)],
    "interpolate, restore": lambda: [fake_runner(interpolates=True), fake_runner(window=7, overlap=3)],
    "all": lambda: [fake_runner(sigma=True), fake_runner(scale=2), *[fake_runner(interpolates=True)] * 2],
}


def sigma_of(restorer: Restorer) -> dict[str, Any]:
    return {"sigma_255": "auto"} if restorer.needs_sigma else {}


def clip_of_scenes(num_frames: int, cuts: list[int]) -> Tensor:
    """Scenes of still pictures with a little noise; their cuts are detected."""
    scenes = random_clip(len(cuts) + 1, 32, 32, seed=3).round()
    frames = [scenes[sum(c <= n for c in cuts)] for n in range(num_frames)]
    return torch.stack(frames) + 0.01 * random_clip(num_frames, 32, 32)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(num_frames=st.integers(1, 22), cuts=st.sets(st.integers(1, 21), max_size=3), detect=st.booleans())
def test_every_start(kind: str, num_frames: int, cuts: set[int], detect: bool) -> None:
    restorer = Restorer(KINDS[kind]())
    clip = clip_of_scenes(num_frames, sorted(cuts))
    arguments = {"cuts": "auto" if detect else tuple(sorted(cuts)), **sigma_of(restorer)}
    whole = list(restorer.stream(iter(clip), **arguments))
    step = max(len(whole) // 5, 1)
    for first in (*range(0, len(whole), step), len(whole) - 1):
        frames = iter(clip[restorer.first_frame_needed(first) :])
        rest = list(restorer.stream(frames, first_output=first, num_frames=num_frames, **arguments))
        assert len(rest) == len(whole) - first
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[first:], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_before_is_not_computed(kind: str) -> None:
    restorer = Restorer(KINDS[kind]())
    arguments: dict[str, Any] = {"cuts": "off", **sigma_of(restorer)}
    clip = random_clip(60, 8, 8)
    steps: list[tuple[int, int | None]] = []
    whole = list(restorer.stream(clip, on_step=lambda *step: steps.append(step), num_frames=60, **arguments))
    total = len(steps)
    assert steps[-1] == (total, total)
    steps.clear()
    first = len(whole) // 2 // restorer.stride_frames * restorer.stride_frames
    frames = clip[restorer.first_frame_needed(first) :]
    list(
        restorer.stream(
            frames, on_step=lambda *step: steps.append(step), num_frames=60, first_output=first, **arguments
        )
    )
    assert steps[-1] == (len(steps), len(steps))
    assert len(steps) <= total * (1 - first / len(whole)) + 3 * len(restorer.runners)


def test_the_stride_is_that_of_the_windows() -> None:
    assert fake_restorer(window=12, overlap=3).stride_frames == 9
    assert Restorer([fake_runner(interpolates=True)] * 2).stride_frames == 4
    assert Restorer([fake_runner(window=7, overlap=3), fake_runner(interpolates=True)]).stride_frames == 8


def test_frames_are_counted_from_the_start_of_the_clip() -> None:
    restorer = fake_restorer(window=4, overlap=0)
    clip = random_clip(12, 8, 8)
    start = restorer.first_frame_needed(8)
    assert start == 7  # the last window may begin earlier
    with pytest.raises(InputError, match=r"num_frames \(14\) is more than the 12 frames that came"):
        list(restorer.stream(clip[start:], first_output=8, num_frames=14, cuts="off"))
    with pytest.raises(InputError, match=r"first_output \(-1\) must be a whole number of at least 0"):
        restorer.stream(clip, first_output=-1)
    bad = clip.clone()
    bad[10, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="frame 10 "):
        list(restorer.stream(bad[start:], first_output=8, cuts="off"))
    assert network_of(restorer).inputs
