"""The noise level: a number, a clip of it, or an estimate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vs_plugin.filter
from tests.vs.fake import FakeRestorer, Source, core, fetch, windowed
from tests.vs.real import as_clip
from vrt_core import load_restorer
from vs_plugin import restore
from vs_plugin.frames import read_levels

OPTIONS: dict[str, Any] = {"device": "cpu", "tile": 0, "window": 4, "overlap": 2}
CORE: dict[str, Any] = {"device": "cpu", "tile_px": 0, "window_frames": 4, "overlap_frames": 2}


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    """(7, 3, 14, 15)"""
    return torch.rand(7, 3, 14, 15, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def levels() -> torch.Tensor:
    """(7, 1, 14, 15), from 0 to 50."""
    return 50 * torch.rand(7, 1, 14, 15, generator=torch.Generator().manual_seed(3))


def test_a_level_for_each_pixel(models: dict[str, Path], clip: torch.Tensor, levels: torch.Tensor) -> None:
    expected = load_restorer(models["denoise"], **CORE).restore(torch.cat((clip, levels / 255), dim=1), cuts="off")
    for vs_format, sigma in ((vs.GRAYS, levels), (vs.GRAYH, levels.half())):
        if vs_format == vs.GRAYH:
            seen = torch.cat((clip, sigma.float() / 255), dim=1)
            expected = load_restorer(models["denoise"], **CORE).restore(seen, cuts="off")
        level = as_clip(sigma, vs_format)
        got = fetch(restore(as_clip(clip, vs.RGBS), model=str(models["denoise"]), sigma=level, **OPTIONS), [6, 0, 4, 5])
        assert all(np.array_equal(got[n], expected[n].numpy()) for n in got)


def test_a_clip_of_one_level_is_that_number(models: dict[str, Path], clip: torch.Tensor) -> None:
    source, flat = as_clip(clip[:5], vs.RGBS), core.std.BlankClip(None, 15, 14, vs.GRAYS, 5, color=17.3)
    by_clip = fetch(restore(source, model=str(models["denoise"]), sigma=flat, **OPTIONS))
    by_number = fetch(restore(source, model=str(models["denoise"]), sigma=17.3, **OPTIONS))
    assert all(np.abs(by_clip[n] - by_number[n]).max() < 1e-5 for n in by_clip)


def test_an_estimate_is_that_of_the_core(models: dict[str, Path], clip: torch.Tensor) -> None:
    expected = load_restorer(models["denoise"], **CORE).restore(clip, sigma_255="auto", cuts="off").numpy()
    got = fetch(restore(as_clip(clip, vs.RGBS), model=str(models["denoise"]), sigma="auto", **OPTIONS), [5, 2])
    assert all(np.array_equal(got[n], expected[n]) for n in got)


def test_a_chain_takes_it_for_its_first_model(
    models: dict[str, Path], clip: torch.Tensor, levels: torch.Tensor
) -> None:
    model = f"{models['denoise']}+{models['interpolate']}"
    seen = torch.cat((clip, levels / 255), dim=1)[:6]
    expected = load_restorer(model, **CORE).restore(seen, cuts="off").numpy()
    source, level = as_clip(clip[:6], vs.RGBS), as_clip(levels[:6], vs.GRAYS)
    got = fetch(restore(source, model=model, sigma=level, **OPTIONS), [11, 3, 4])
    assert all(np.array_equal(got[n], expected[n]) for n in got)
    with pytest.raises(vs.Error, match="first model of a chain alone"):
        restore(source, model=f"{models['deblur']}+{models['denoise']}", sigma=level, **OPTIONS)


class Levels(FakeRestorer):
    """Returns the level of every pixel, in all channels."""

    needs_sigma = True

    def restore_window(self, window, frames, **options):
        return super().restore_window(window, (255 * frames[:, 3:]).expand(-1, 3, -1, -1), **options)


def test_levels_are_asked_for_once_and_window_by_window() -> None:
    source, level = Source(40), Source(40, vs_format=vs.GRAYS)
    level.pixels[:] = np.abs(level.pixels)
    expected = FakeRestorer(6, 2).restore(level.frames.expand(-1, 3, -1, -1)).numpy()
    got = fetch(windowed(source.clip, Levels(6, 2), sigma=level.clip))
    assert all(np.allclose(got[n], expected[n], atol=1e-5) for n in range(40))
    assert set(level.asked) == set(range(40))
    assert level.asked.total() <= 41  # frames fetched ahead can be asked for once more, when threads meet
    level.asked.clear()
    fetch(windowed(source.clip, Levels(6, 2), sigma=level.clip), [14])
    assert sorted(level.asked) == list(range(12, 18))  # not those beside it, where there may be cuts


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (0, 51), (0, np.nan)])
def test_levels_out_of_range_are_named(low: float, high: float) -> None:
    clip = as_clip(torch.tensor([20.0, low, high]).reshape(1, 1, 1, 3), vs.GRAYS)
    with pytest.raises(vs.Error, match=r"vrt: frame 7 of the clip sigma .* 0 to 50, in 8-bit units"):
        read_levels([clip.get_frame(0)], 7)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"format": vs.GRAY8}, "must be GRAYS or GRAYH .* got Gray8"),
        ({"format": vs.RGBS}, "must be GRAYS or GRAYH"),
        ({"width": 20}, "must be as large .* 16x16 px and 5 frames, got 20x16 px and 5 frames"),
        ({"length": 4}, "must be as large and as long as clip"),
    ],
)
def test_clips_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, facts: dict[str, int], words: str) -> None:
    facts = {"width": 16, "height": 16, "format": int(vs.GRAYS), "length": 5, **facts}
    monkeypatch.setattr(vs_plugin.filter, "load_restorer", lambda *_, **__: Levels(6, 2))
    with pytest.raises(vs.Error, match=f"^vrt: sigma {words}") as caught:
        restore(core.std.BlankClip(None, 16, 16, vs.RGBS, 5), sigma=core.std.BlankClip(None, **facts))
    assert "\n" not in str(caught.value)


def test_a_clip_for_a_model_that_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vs_plugin.filter, "load_restorer", lambda *_, **__: FakeRestorer(6, 2))
    with pytest.raises(vs.Error, match="takes no sigma, got a clip"):
        restore(core.std.BlankClip(None, 16, 16, vs.RGBS, 5), sigma=core.std.BlankClip(None, 16, 16, vs.GRAYS, 5))
