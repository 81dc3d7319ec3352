"""The three entry points over a fake network return the same frames, bit for bit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.helpers.fake_restorers import by_windows, fake_restorer, network_of, random_clip
from vrt_core import NumericsError


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 23),
    size=st.sampled_from([(1, 1), (8, 16), (33, 20), (7, 41)]),
    window=st.integers(1, 7),
    overlap=st.integers(0, 3),
    cuts=st.lists(st.integers(1, 25), max_size=5),
    tile=st.sampled_from([0, 16, (16, 24)]),
    interpolates=st.booleans(),
    seed=st.integers(0, 9),
)
def test_entry_points_agree(frames, size, window, overlap, cuts, tile, interpolates, seed) -> None:
    overlap = min(overlap, window // 2)
    restorer = fake_restorer(interpolates=interpolates, window=window, overlap=overlap, tile_px=tile)
    clip = random_clip(frames, *size, seed=seed)
    cuts = tuple(sorted(set(cuts)))
    whole = restorer.restore(clip, cuts=cuts)
    streamed = torch.stack(list(restorer.stream(iter(clip), cuts=cuts)))
    order = list(range(len(restorer.plan(frames, *size, cuts=cuts))))
    random.Random(seed).shuffle(order)
    windowed = by_windows(restorer, clip, cuts=cuts, order=order, cache=restorer.new_cache(20_000))
    assert torch.equal(whole, streamed)
    assert torch.equal(whole, windowed)
    assert torch.equal(windowed, by_windows(restorer, clip, cuts=cuts))  # without a cache
    assert whole.shape == (restorer.frame_factor * frames, 3, *size)


def test_the_fake_network_depends_on_every_setting() -> None:
    """The comparisons above would miss a fault that the fake network cannot show."""
    clip = random_clip(9, 20, 30)
    outputs = [
        fake_restorer(window=w, overlap=o, tile_px=t).restore(clip, cuts=c)
        for w, o, t, c in [(4, 2, 0, ()), (5, 2, 0, ()), (4, 1, 0, ()), (4, 2, 16, ()), (4, 2, 0, (4,))]
    ]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(outputs, 2))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 64), (70, 33)])
def test_any_size_and_scale(scale: int, size: tuple[int, int]) -> None:
    restorer = fake_restorer(scale=scale, tile_px=24)
    clip = torch.full((3, 3, *size), 0.25)
    out = restorer.restore(clip)
    assert out.shape == (3, 3, scale * size[0], scale * size[1])
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    torch.testing.assert_close(out, torch.full_like(out, 0.25))  # weights sum to 1 everywhere


def test_tiles_fade_into_each_other() -> None:
    restorer = fake_restorer(tile_px=16, tile_overlap_px=8, window=1, overlap=0)
    row = torch.cat((torch.zeros(16), torch.ones(8)))
    clip = row.expand(1, 3, 16, 24).clone()
    out = restorer.restore(clip)[0, 0, 0] - 0.9 * row  # what is left is a tenth of the mean of the tile (0, then 1/2)
    expected = 0.05 * torch.cat((torch.zeros(8), torch.arange(1, 9) / 9, torch.ones(8)))
    torch.testing.assert_close(out, expected)


def test_windows_fade_into_each_other() -> None:
    restorer = fake_restorer(window=4, overlap=2)
    clip = torch.arange(6.0)[:, None, None, None].expand(6, 3, 8, 8).clone()
    plain = [restorer.restore(clip[a:b], cuts="off")[:, 0, 0, 0] for a, b in [(0, 4), (2, 6)]]
    out = restorer.restore(clip, cuts="off")[:, 0, 0, 0]
    expected = torch.cat(
        (plain[0][:2], (plain[0][2:3] * 2 + plain[1][:1]) / 3, (plain[0][3:] + plain[1][1:2] * 2) / 3, plain[1][2:])
    )
    torch.testing.assert_close(out, expected)


def test_scenes_do_not_see_each_other() -> None:
    restorer = fake_restorer(window=6, overlap=2)
    clip = random_clip(20, 16, 16)
    out = restorer.restore(clip, cuts=(7, 9, 16))
    other = clip.clone()
    other[7:9] = 0.5
    changed = restorer.restore(other, cuts=(7, 9, 16))
    assert torch.equal(out[:7], changed[:7])
    assert torch.equal(out[9:], changed[9:])
    assert not torch.equal(out[7:9], changed[7:9])


def test_cuts_are_found_alike_in_clip_and_stream() -> None:
    clip = torch.cat((random_clip(1, 4, 4).expand(5, 3, 4, 4), random_clip(1, 4, 4, seed=1).expand(6, 3, 4, 4)))
    clip = clip.repeat_interleave(16, -1).repeat_interleave(16, -2) + 0.02 * random_clip(11, 64, 64, seed=2)
    restorer = fake_restorer(window=4, overlap=2)
    results = restorer.restore(clip)
    assert torch.equal(results, restorer.restore(clip, cuts=[5]))
    assert not torch.equal(results, restorer.restore(clip, cuts="off"))
    assert torch.equal(results, torch.stack(list(restorer.stream(clip))))


@pytest.mark.parametrize("entry_point", ["restore", "stream", "window"])
@pytest.mark.parametrize("tile", [0, 16])
def test_flows_of_a_pair_are_computed_once(entry_point: str, tile: int) -> None:
    restorer = fake_restorer(window=6, overlap=3, tile_px=tile)
    clip = random_clip(24, 32, 40)
    if entry_point == "restore":
        restorer.restore(clip, cuts=[10])
    elif entry_point == "stream":
        list(restorer.stream(clip, cuts=[10]))
    else:
        cache = restorer.new_cache()
        by_windows(restorer, clip, cuts=(10,), cache=cache)
        assert cache.misses == 22
        assert cache.hits == 10
    assert network_of(restorer).pairs == 22  # 23 neighbours, one pair with a cut between


def test_a_small_cache_stays_small() -> None:
    restorer = fake_restorer(window=6, overlap=2)
    clip = random_clip(30, 16, 16)
    pair_bytes = 2 * 2 * 4 * (256 + 64 + 16 + 4)
    cache = restorer.new_cache(max_bytes=3 * pair_bytes)
    assert torch.equal(by_windows(restorer, clip, cache=cache), restorer.restore(clip, cuts="off"))
    assert cache.num_bytes == 3 * pair_bytes


def test_interpolation_keeps_frames_and_holds_the_last_of_a_scene() -> None:
    restorer = fake_restorer(interpolates=True)
    clip = random_clip(7, 9, 10)
    out = restorer.restore(clip, cuts=(4,))
    assert torch.equal(out[::2], clip)
    for n in (3, 6):
        assert torch.equal(out[2 * n + 1], clip[n])
    a, b, c = clip[1:4]
    torch.testing.assert_close(out[3], 0.1 * clip[0] + 0.3 * clip[1] + 0.4 * clip[2] + 0.2 * clip[3])
    torch.testing.assert_close(out[5], 0.1 * a + 0.3 * b + 0.4 * c + 0.2 * c)  # the next frame is of another scene
    torch.testing.assert_close(out[1], 0.1 * clip[0] + 0.3 * clip[0] + 0.4 * clip[1] + 0.2 * clip[2])
    assert len(network_of(restorer).inputs) == 5


def test_consumer_may_change_what_it_gets_and_source_its_buffer() -> None:
    for restorer in (fake_restorer(), fake_restorer(interpolates=True)):
        clip = random_clip(9, 8, 8)
        expected = restorer.restore(clip, cuts="off")

        def reuse(clip: Tensor = clip) -> Iterator[Tensor]:
            buffer = torch.empty(3, 8, 8)
            for frame in clip:
                yield buffer.copy_(frame)

        results = []
        for frame in restorer.stream(reuse(), cuts="off"):
            results.append(frame.clone())
            frame.fill_(float("nan"))
        assert torch.equal(torch.stack(results), expected)


def test_sigma_and_noise_maps_are_the_same_thing() -> None:
    restorer = fake_restorer(sigma=True)
    clip = random_clip(5, 12, 8)
    mapped = torch.cat((clip, torch.full((5, 1, 12, 8), 20 / 255)), dim=1)
    assert torch.equal(restorer.restore(clip, sigma_255=20), restorer.restore(mapped))
    assert not torch.equal(restorer.restore(clip, sigma_255=20), restorer.restore(clip, sigma_255=30))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_comes_out_as_float32(dtype: torch.dtype) -> None:
    out = fake_restorer().restore(random_clip(3, 8, 8).to(dtype))
    assert out.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_precision_reaches_the_network(dtype: torch.dtype) -> None:
    clip = random_clip(5, 8, 8)
    out, exact = fake_restorer(dtype=dtype).restore(clip), fake_restorer().restore(clip)
    assert not torch.equal(out, exact)
    torch.testing.assert_close(out, exact, atol=0.02, rtol=0)


# --- progress and cancel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolates", [False, True])
@pytest.mark.parametrize("cuts", [(), (5,), (5, 6, 11, 18)])
def test_progress_counts_passes(interpolates: bool, cuts: tuple[int, ...]) -> None:
    restorer = fake_restorer(interpolates=interpolates, tile_px=16)
    clip = random_clip(19, 20, 20)
    steps: list[tuple[int, int | None]] = []
    restorer.restore(clip, cuts=cuts, on_step=lambda *step: steps.append(step))
    total = len(network_of(restorer).inputs)
    assert steps == [(n, total) for n in range(1, total + 1)]
    steps.clear()
    list(restorer.stream(clip, cuts=cuts, on_step=lambda *step: steps.append(step)))
    assert steps == [(n, None) for n in range(1, total + 1)]
    steps.clear()
    window = restorer.plan(19, 20, 20, cuts=cuts)[1]
    restorer.restore_window(window, clip[window.start : window.stop], on_step=lambda *step: steps.append(step))
    assert steps == [(n, len(window.segments) * 4) for n in range(1, len(window.segments) * 4 + 1)]


def test_progress_of_a_stream_whose_cuts_are_found_on_the_way() -> None:
    scenes = [random_clip(1, 8, 8, seed=n).expand(7, 3, 8, 8) for n in range(3)]
    clip = torch.cat(scenes).repeat_interleave(8, -1).repeat_interleave(8, -2)
    restorer = fake_restorer()
    steps: list[tuple[int, int]] = []
    list(restorer.stream(clip, num_frames=21, on_step=lambda *step: steps.append(step)))  # type: ignore[arg-type]
    totals = [total for _, total in steps]
    assert totals[0] == len(restorer.plan(21, 64, 64))
    assert steps[-1] == (len(network_of(restorer).inputs), len(network_of(restorer).inputs))


def test_check_cancels_between_passes() -> None:
    class Stop(BaseException):
        pass

    restorer = fake_restorer(tile_px=16)
    calls = itertools.count(1)

    def check() -> None:
        if next(calls) == 9:
            raise Stop

    with pytest.raises(Stop):
        restorer.restore(random_clip(9, 20, 20), check=check)
    assert len(network_of(restorer).inputs) < 9


# --- numbers ---------------------------------------------------------------------------------------------------------


def overflowing_clip() -> Tensor:
    clip = random_clip(24, 16, 16)
    clip[14] = 70000.0  # more than float16 holds
    return clip


@pytest.mark.parametrize("tile", [0, 8])
def test_a_window_that_overflows_in_half_precision_is_computed_again_in_float32(
    tile: int, caplog: pytest.LogCaptureFixture
) -> None:
    restorer, exact = (fake_restorer(dtype=d, tile_px=tile, name="the-model") for d in (torch.float16, torch.float32))
    clip = overflowing_clip()
    half = fake_restorer(dtype=torch.float16, tile_px=tile).restore(clip[:12], cuts="off")
    steps: list[tuple[int, int | None]] = []
    results = restorer.restore(clip, cuts="off", on_step=lambda *step: steps.append(step))
    assert torch.equal(results[:10], half[:10]), "windows before it stay in half precision"
    expected = exact.restore(clip, cuts="off")
    assert torch.equal(results[14], expected[14])
    assert not torch.equal(results[-1], expected[-1]), "windows after it as well"
    assert results.isfinite().all()
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2, "frame 14 is in two windows"
    assert "the-model gave NaN or infinity for output frame" in warnings[0]
    assert "frames 12 to 15 are computed again in fp32" in warnings[0]
    assert steps[-1][0] == steps[-1][1]
    streamed = fake_restorer(dtype=torch.float16, tile_px=tile).stream(clip, cuts="off")
    assert torch.equal(torch.stack(list(streamed)), results)
    assert torch.equal(by_windows(restorer, clip), results)


def test_the_network_stays_in_half_precision_beside_its_float32_copy() -> None:
    restorer = fake_restorer(dtype=torch.float16)
    restorer.restore(overflowing_clip(), cuts="off")
    assert network_of(restorer).weight.dtype == torch.float16


def test_results_that_are_not_finite_in_float32_either_are_refused() -> None:
    restorer = fake_restorer(dtype=torch.float16, name="the-model")
    clip = random_clip(9, 8, 8)
    clip[6] = 3e38  # twice as much is infinite
    results = []
    with pytest.raises(NumericsError, match=r"the-model .* frame \d in fp32$"):
        results.extend(restorer.stream(clip, cuts="off"))
    assert len(results) == 4
