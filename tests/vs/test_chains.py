"""Models that interpolate, and chains of models: the same frames as the core, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.vs.helpers import core, differing, fetch
from tests.vs.real import as_clip
from vrt_core import find_cuts, load_restorer
from vs_plugin import restore

pytestmark = pytest.mark.usefixtures("one_thread")

ORDER = [3, 0, 13, 1, 2, 12, 11, 14, 21, 20, 7]


def joined(models: dict[str, Path], names: str) -> str:
    return "+".join(str(models[name]) for name in names.split("+"))


@pytest.fixture(scope="module")
def small() -> torch.Tensor:
    """(11, 3, 16, 18)"""
    return torch.rand(11, 3, 16, 18, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("names", "core_options", "options"),
    [
        ("interpolate", {}, {}),
        ("interpolate", {"factor": 4}, {"factor": 4}),
        ("sr+interpolate", {"window_frames": 4, "overlap_frames": 2}, {"window": 4, "overlap": 2}),
        ("interpolate+deblur", {"window_frames": 4, "overlap_frames": 1}, {"window": 4, "overlap": 1}),
    ],
)
@pytest.mark.parametrize("vs_format", [vs.RGBS, vs.RGBH])
def test_interpolation_and_chains_give_the_frames_of_the_core(
    models: dict[str, Path], small: torch.Tensor, names: str, core_options: dict, options: dict, vs_format: int
) -> None:
    model, common = joined(models, names), {"device": "cpu", "precision": "fp32"}
    if vs_format == vs.RGBH:
        small = small.half().float()
    expected = load_restorer(model, tile_px=0, **common, **core_options).restore(small, cuts=[6]).numpy()
    source = as_clip(small, vs_format, cuts=(6,))
    frames = fetch(restore(source, model=model, tile=0, cuts="props", **common, **options), ORDER)
    assert differing(frames, expected.astype(frames[0].dtype)) == []  # half is rounded once


def test_a_chain_uses_the_cuts_of_its_source(models: dict[str, Path]) -> None:
    scenes = torch.rand(9, 3, 32, 40, generator=torch.Generator().manual_seed(2))
    scenes = torch.cat([scenes[:4] / 4, 1 - scenes[4:] / 4])
    assert find_cuts(scenes) == [4]
    model = joined(models, "sr+interpolate")
    expected = load_restorer(model, device="cpu", tile_px=0).restore(scenes).numpy()
    restored = restore(as_clip(scenes, vs.RGBS), model=model, device="cpu", tile=0, cuts="auto")
    frames = fetch(restored)
    assert len(frames) == 18
    assert differing(frames, expected) == []
    assert np.array_equal(frames[7], frames[6])  # the last frame of a scene, twice
    assert not any(name.startswith("_VRT") for name in restored.get_frame(8).props)


def test_the_noise_level_reaches_the_model_that_needs_it(models: dict[str, Path], small: torch.Tensor) -> None:
    model = joined(models, "denoise+interpolate")
    expected = load_restorer(model, device="cpu", tile_px=0).restore(small[:6], sigma_255=20, cuts="off").numpy()
    frames = fetch(restore(as_clip(small[:6], vs.RGBS), model=model, sigma=20, device="cpu", tile=0))
    assert len(frames) == 12
    assert differing(frames, expected) == []


@pytest.mark.parametrize("num_frames", [1, 2, 3])
@pytest.mark.parametrize("factor", [2, 4])
def test_short_clips(models: dict[str, Path], small: torch.Tensor, num_frames: int, factor: int) -> None:
    restorer = load_restorer(models["interpolate"], device="cpu", tile_px=0, factor=factor)
    expected = restorer.restore(small[:num_frames]).numpy()
    source = as_clip(small[:num_frames], vs.RGBS)
    frames = fetch(restore(source, model=str(models["interpolate"]), factor=factor, device="cpu", tile=0))
    assert len(frames) == factor * num_frames
    assert differing(frames, expected) == []


def test_a_named_chain_is_known() -> None:
    clip = core.std.BlankClip(None, 16, 16, vs.RGBS, 5)
    with pytest.raises(vs.Error, match=r"vrt: .*vrt download 003"):  # the first of its two models
        restore(clip, model="010")
