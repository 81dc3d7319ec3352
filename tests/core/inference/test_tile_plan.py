"""Tiles cover frames evenly, and what the network cannot work on is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrt_core import InputError
from vrt_core.inference.tile_plan import axis_spans, check_tile, choose_tile_size, make_tiling, smaller_tile_sizes

sides = st.integers(1, 40).map(lambda n: 8 * n)


@settings(deadline=None)
@given(size=sides, tile=sides, overlap=st.integers(0, 20).map(lambda n: 8 * n), scale=st.sampled_from([1, 2, 3]))
def test_weights_of_every_pixel_sum_to_one(size: int, tile: int, overlap: int, scale: int) -> None:
    tile = min(tile, size)
    total = torch.zeros(scale * size)
    spans = axis_spans(size, tile, min(overlap, tile // 16 * 8), scale)
    for span in spans:
        assert span.start % 8 == 0
        assert 0 <= span.start < span.stop <= size
        assert span.stop - span.start == tile
        assert span.weights.shape == (scale * tile,)
        total[scale * span.start : scale * span.stop] += span.weights
    torch.testing.assert_close(total, torch.ones_like(total))
    if len(spans) == 1:
        assert torch.equal(total, torch.ones_like(total))


def test_ramps_are_linear() -> None:
    first, second = axis_spans(24, 16, 8, 1)
    assert torch.equal(first.weights[:8], torch.ones(8))
    torch.testing.assert_close(second.weights[:8], torch.arange(1, 9) / 9)
    torch.testing.assert_close(first.weights[8:], 1 - second.weights[:8])


def test_tiles_are_not_larger_than_frames() -> None:
    tiling = make_tiling((64, 200), (128, 128), None, 8)
    assert tiling.tile == (64, 128)
    assert tiling.overlap == (16, 32)  # a quarter, at most 32
    assert len(tiling) == len(tiling.tiles(2)) == 2
    assert make_tiling((64, 200), (0, 0), None, 8).tile == (64, 200)
    assert make_tiling((64, 200), (64, 64), 24, 8).overlap == (24, 24)


@settings(deadline=None, max_examples=50)
@given(size=st.tuples(sides, sides), room_px=st.integers(1, 300 * 300), overlap=st.none() | st.integers(0, 4))
def test_chosen_tiles_fit_and_compute_least(size: tuple[int, int], room_px: int, overlap: int | None) -> None:
    overlap = None if overlap is None else 8 * overlap

    def work(tile: tuple[int, int]) -> int:
        return len(make_tiling(size, tile, overlap, 8)) * tile[0] * tile[1]

    def fits(tile: tuple[int, int]) -> bool:
        return tile[0] * tile[1] <= room_px

    tile = choose_tile_size(size, 64, overlap, 8, fits)
    smallest = min(64, size[0]), min(64, size[1])
    assert all(smallest[axis] <= tile[axis] <= size[axis] and tile[axis] % 8 == 0 for axis in (0, 1))
    squares = [t for px in range(128, 320, 8) if fits(t := (min(size[0], px), min(size[1], px)))]
    assert fits(tile) or not (fits(smallest) or squares)
    assert all(work(tile) <= work(square) for square in squares)


def test_frames_are_split_evenly() -> None:
    tile = choose_tile_size((1080, 1920), 64, None, 8, lambda tile: tile[0] * tile[1] <= 700 * 700)
    assert tile == (560, 664)  # 1.08 of the frame in all; of a ladder of squares, 512x512 would fit: 1.52
    assert len(make_tiling((1080, 1920), tile, None, 8)) == 2 * 3


def test_tiles_too_short_for_a_full_overlap_come_last() -> None:
    assert choose_tile_size((256, 512), 64, None, 8, lambda tile: tile[0] * tile[1] <= 256 * 130) == (256, 128)
    assert choose_tile_size((256, 512), 64, None, 8, lambda tile: tile[0] * tile[1] <= 100 * 128) == (144, 88)


def test_ladder_goes_down_to_what_the_network_takes() -> None:
    ladder = smaller_tile_sizes((720, 1280), 64)
    assert ladder[0] == (720, 1024)
    assert ladder[-1] == (64, 64)
    assert smaller_tile_sizes((64, 64), 64) == []
    assert smaller_tile_sizes((64, 72), 64) == [(64, 64)]


@pytest.mark.parametrize("tile", ["auto", 0, 64, 128, (64, 128), (0, 64)])
def test_good_tiles(tile: object) -> None:
    sides = check_tile(tile, 16, multiple_px=8, min_px=64)
    assert sides == (None if tile == "auto" else tile if isinstance(tile, tuple) else (tile, tile))


@pytest.mark.parametrize(
    ("tile", "overlap", "words"),
    [
        (100, None, r"tile_px \(100\).*multiple of 8 px.*; (104|96) would do"),
        (32, None, r"at least 64 px.*64 would do"),
        (-8, None, "tile_px"),
        ((64, 70), None, r"\(64, 70\)"),
        ("large", None, "auto, 0"),
        ((64, 64, 64), None, r"\(height, width\)"),
        (64.0, None, "tile_px"),
        (64, 40, r"tile_overlap_px \(40\).*half of tile_px, 32 px"),
        (64, 12, "multiple of 8"),
        ("auto", -8, "tile_overlap_px"),
    ],
)
def test_bad_tiles(tile: object, overlap: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_tile(tile, overlap, multiple_px=8, min_px=64)
