"""Several networks in a row: the entry points agree, nothing runs twice, and held frames stay held."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.fake_restorers import FakeNetwork, by_windows, fake_restorer, fake_runner, network_of, random_clip
from tests.helpers.live_bytes import LiveBytes
from vrt_core import InputError
from vrt_core.inference.chain_plan import ChainPlan, ChainWindow
from vrt_core.restorer import Restorer

KINDS = {
    "enlarge, interpolate": lambda: [fake_runner(scale=2, tile_px=16), fake_runner(interpolates=True)],
    "interpolate, enlarge": lambda: [fake_runner(interpolates=True), fake_runner(scale=2, tile_px=16)],
    "interpolate x4": lambda: [fake_runner(interpolates=True)] * 2,
    "interpolate x8": lambda: [fake_runner(interpolates=True)] * 3,
    "restore twice": lambda: [fake_runner(window=5, overlap=1), fake_runner(window=4, overlap=2)],
    "restore twice by one": lambda: [fake_runner(window=5, overlap=2)] * 2,
    "all": lambda: [fake_runner(sigma=True), fake_runner(scale=2), *[fake_runner(interpolates=True)] * 2],
}


def chain(kind: str) -> Restorer:
    return Restorer(KINDS[kind]())


def networks(restorer: Restorer) -> list[FakeNetwork]:
    return [network_of(single) for single in restorer.split()]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(frames=st.integers(1, 17), cuts=st.lists(st.integers(1, 18), max_size=4), seed=st.integers(0, 9))
def test_entry_points_agree(kind: str, frames: int, cuts: list[int], seed: int) -> None:
    restorer = chain(kind)
    sigma: Any = {"sigma_255": 20} if restorer.needs_sigma else {}
    clip = random_clip(frames, 9, 17, seed=seed)
    known = tuple(sorted(set(cuts)))
    whole = restorer.restore(clip, cuts=known, **sigma)
    assert whole.shape == (restorer.frame_factor * frames, 3, restorer.scale * 9, restorer.scale * 17)
    assert torch.equal(whole, torch.stack(list(restorer.stream(iter(clip), cuts=known, **sigma))))
    order = list(range(len(restorer.plan(frames, 9, 17, cuts=known))))
    random.Random(seed).shuffle(order)
    cache = restorer.new_cache(100_000)
    assert torch.equal(whole, by_windows(restorer, clip, cuts=known, order=order, cache=cache, **sigma))
    assert torch.equal(whole, by_windows(restorer, clip, cuts=known, **sigma))


@pytest.mark.parametrize("kind", KINDS)
def test_windows_in_sequence_run_nothing_twice(kind: str) -> None:
    clip = random_clip(15, 16, 16)
    counts = []
    for entry_point in ("stream", "windows"):
        restorer = chain(kind)
        sigma: Any = {"sigma_255": 20} if restorer.needs_sigma else {}
        if entry_point == "stream":
            list(restorer.stream(clip, cuts=(6,), **sigma))
        else:
            by_windows(restorer, clip, cuts=(6,), cache=restorer.new_cache(), **sigma)
        counts.append([(len(network.inputs), network.pairs) for network in networks(restorer)])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("repeats", [2, 3])
def test_repetition_runs_nothing_between_held_frames(repeats: int) -> None:
    restorer = Restorer([fake_runner(interpolates=True)] * repeats)
    clip = random_clip(7, 8, 8)
    factor = 2**repeats
    out = restorer.restore(clip, cuts=(4,))
    assert torch.equal(out[::factor], clip)
    for last in (3, 6):
        assert all(torch.equal(out[factor * last + i], clip[last]) for i in range(factor))
    moving = 5  # neighbours within a scene
    assert len(networks(restorer)[0].inputs) == moving * (factor - 1)


def test_chain_equals_its_models_one_after_another() -> None:
    head, tail = fake_restorer(scale=2), fake_restorer(interpolates=True)
    clip = random_clip(9, 10, 12)
    expected = tail.restore(head.restore(clip, cuts=(4,)), cuts=(4,))
    assert torch.equal(Restorer([*head.runners, *tail.runners]).restore(clip, cuts=(4,)), expected)


def test_cuts_are_found_in_the_source() -> None:
    scenes = [random_clip(1, 4, 4, seed=n).expand(5, 3, 4, 4) for n in range(2)]
    clip = torch.cat(scenes).repeat_interleave(8, -1).repeat_interleave(8, -2)
    restorer = chain("enlarge, interpolate")
    out = restorer.restore(clip)
    assert torch.equal(out, restorer.restore(clip, cuts=(5,)))
    assert torch.equal(out, torch.stack(list(restorer.stream(iter(clip)))))
    assert not torch.equal(out, restorer.restore(clip, cuts="off"))


@settings(deadline=None)
@given(frames=st.integers(1, 30), cuts=st.lists(st.integers(1, 30), max_size=4), kind=st.sampled_from(list(KINDS)))
def test_windows_read_what_their_head_needs(frames: int, cuts: list[int], kind: str) -> None:
    restorer = chain(kind)
    plan = restorer.plan(frames, 8, 8, cuts=cuts)
    assert isinstance(plan, ChainPlan)
    assert plan.num_frames_out == restorer.frame_factor * frames
    for window in plan:
        assert isinstance(window, ChainWindow)
        assert 0 <= window.start < window.stop <= frames
        assert all(window.start <= head.start and head.stop <= window.stop for head in window.head)
        available = {n for head in window.head for n, _ in head.output_weights}
        assert available >= set(range(window.tail.start, window.tail.stop))
        assert all(window.start < c < window.stop for c in window.cuts)


def test_long_streams_hold_no_more_frames_than_short_ones() -> None:
    restorer = chain("enlarge, interpolate")

    def peak(length: int) -> int:
        frames = (random_clip(1, 8, 8, seed=n)[0] for n in range(length))
        with LiveBytes() as live:
            for _ in restorer.stream(frames, cuts=range(10, length, 17)):
                pass
        return live.peak

    assert peak(100) == peak(40)


def test_progress_adds_up() -> None:
    restorer = chain("enlarge, interpolate")
    steps: list[tuple[int, int | None]] = []
    restorer.restore(random_clip(11, 20, 20), cuts=(4,), on_step=lambda *step: steps.append(step))
    total = sum(len(network.inputs) for network in networks(restorer))
    assert steps == [(n, total) for n in range(1, total + 1)]


def test_facts_of_a_chain() -> None:
    restorer = chain("enlarge, interpolate")
    assert (restorer.scale, restorer.frame_factor, restorer.needs_sigma) == (2, 2, False)
    assert restorer.card.name == "fake+fake"
    assert restorer.estimate_bytes(9, 64, 64) == max(
        restorer.runners[0].estimate_bytes(9, 64, 64), restorer.runners[1].estimate_bytes(9, 128, 128)
    )


def test_noise_is_told_to_those_that_ask() -> None:
    clip = random_clip(5, 8, 8)
    mapped = torch.cat((clip, torch.full((5, 1, 8, 8), 20 / 255)), dim=1)
    restorer = Restorer([fake_runner(sigma=True), fake_runner(interpolates=True)])
    assert torch.equal(restorer.restore(clip, sigma_255=20), restorer.restore(mapped))
    with pytest.raises(InputError, match="sigma_255 is missing: model fake"):
        restorer.restore(clip)
    restorer = Restorer([fake_runner(interpolates=True), fake_runner(sigma=True)])
    with pytest.raises(InputError, match="4 channels"):
        restorer.restore(mapped)
    with pytest.raises(InputError, match="takes no noise level"):
        chain("enlarge, interpolate").restore(clip, sigma_255=20)


def test_windows_must_come_from_the_chains_own_plan() -> None:
    restorer = chain("enlarge, interpolate")
    window = restorer.split()[0].plan(9, 8, 8)[0]
    with pytest.raises(InputError, match="chain; use its own plan"):
        restorer.restore_window(window, random_clip(4, 8, 8))


def test_a_chain_enlarges_beyond_what_a_single_card_may_state() -> None:
    chain = Restorer([fake_runner(scale=4, window=1, overlap=0) for _ in range(3)])
    assert chain.scale == 64
    assert chain.restore(random_clip(1, 8, 8), cuts="off").shape == (1, 3, 512, 512)
