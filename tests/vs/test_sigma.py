"""The noise level: a number, a clip, or an estimate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vs_plugin.filter
from tests.vs.helpers import Source, core, differing, fake, fetch, filtered
from tests.vs.real import as_clip
from vrt_core import load_restorer
from vs_plugin import restore
from vs_plugin.frames import read_noise_levels

pytestmark = pytest.mark.usefixtures("one_thread")

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
    restorer, source = load_restorer(models["denoise"], **CORE), as_clip(clip, vs.RGBS)
    for vs_format, sigma in ((vs.GRAYS, levels), (vs.GRAYH, levels.half())):
        expected = restorer.restore(torch.cat((clip, sigma.float() / 255), dim=1), cuts="off").numpy()
        restored = restore(source, model=str(models["denoise"]), sigma=as_clip(sigma, vs_format), **OPTIONS)
        assert differing(fetch(restored, [6, 0, 4, 5]), expected) == []


def test_a_clip_of_one_level_is_that_number(models: dict[str, Path], clip: torch.Tensor) -> None:
    source, flat = as_clip(clip[:5], vs.RGBS), core.std.BlankClip(None, 15, 14, vs.GRAYS, 5, color=17.3)
    by_clip = fetch(restore(source, model=str(models["denoise"]), sigma=flat, **OPTIONS))
    by_number = fetch(restore(source, model=str(models["denoise"]), sigma=17.3, **OPTIONS))
    assert all(np.abs(by_clip[n] - by_number[n]).max() < 1e-5 for n in by_clip)


def test_an_estimate_is_that_of_the_core(models: dict[str, Path], clip: torch.Tensor) -> None:
    expected = load_restorer(models["denoise"], **CORE).restore(clip, sigma_255="auto", cuts="off").numpy()
    restored = restore(as_clip(clip, vs.RGBS), model=str(models["denoise"]), sigma="auto", **OPTIONS)
    assert differing(fetch(restored, [5, 2]), expected) == []


def test_a_chain_uses_the_clip_for_its_first_model(
    models: dict[str, Path], clip: torch.Tensor, levels: torch.Tensor
) -> None:
    model = f"{models['denoise']}+{models['interpolate']}"
    inputs = torch.cat((clip, levels / 255), dim=1)[:6]
    expected = load_restorer(model, **CORE).restore(inputs, cuts="off").numpy()
    source, level = as_clip(clip[:6], vs.RGBS), as_clip(levels[:6], vs.GRAYS)
    assert differing(fetch(restore(source, model=model, sigma=level, **OPTIONS), [11, 3, 4]), expected) == []
    with pytest.raises(vs.Error, match="first model of a chain alone"):
        restore(source, model=f"{models['deblur']}+{models['denoise']}", sigma=level, **OPTIONS)


def test_each_level_is_requested_once_and_with_its_window_only() -> None:
    vs.core.num_threads = 8  # more than the stride: no prefetching
    source, level = Source(40), Source(40, vs_format=vs.GRAYS)
    level.pixels[:] = np.abs(level.pixels)
    restorer = fake(6, 2, sigma=True)
    expected = restorer.restore(torch.cat((source.frames, level.frames / 255), dim=1), cuts=[]).numpy()
    assert differing(fetch(filtered(source.clip, restorer, sigma=level.clip)), expected) == []
    assert level.requests == source.requests == dict.fromkeys(range(40), 1)
    level.requests.clear()
    fetch(filtered(source.clip, restorer, sigma=level.clip), [14])
    assert sorted(level.requests) == list(range(12, 18))  # not its neighbours, whose properties may mark cuts


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (0, 51), (0, np.nan)])
def test_levels_out_of_range_are_named(low: float, high: float) -> None:
    clip = as_clip(torch.tensor([20.0, low, high]).reshape(1, 1, 1, 3), vs.GRAYS)
    with pytest.raises(vs.Error, match=r"vrt: frame 7 of the clip sigma .* 0 to 50, in 8-bit units"):
        read_noise_levels([clip.get_frame(0)], 7)


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
    monkeypatch.setattr(vs_plugin.filter, "load_restorer", lambda *_, **__: fake(6, 2, sigma=True))
    with pytest.raises(vs.Error, match=f"^vrt: sigma {words}") as caught:
        restore(core.std.BlankClip(None, 16, 16, vs.RGBS, 5), sigma=core.std.BlankClip(None, **facts))
    assert "\n" not in str(caught.value)


def test_a_clip_for_a_model_that_needs_no_noise_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vs_plugin.filter, "load_restorer", lambda *_, **__: fake(6, 2))
    with pytest.raises(vs.Error, match="takes no sigma, got a clip"):
        restore(core.std.BlankClip(None, 16, 16, vs.RGBS, 5), sigma=core.std.BlankClip(None, 16, 16, vs.GRAYS, 5))
