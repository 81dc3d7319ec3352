"""The filter with real networks and the real vspipe: the same frames as the core, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.vs.helpers import differing, fetch
from tests.vs.real import CUT, Pipe, as_clip, raw_frames
from vrt_core import load_restorer
from vrt_core.options import Precision
from vs_plugin import restore

pytestmark = pytest.mark.usefixtures("one_thread")


def test_vspipe_gives_the_frames_of_the_core(
    pipe: Pipe, models: dict[str, Path], clip: torch.Tensor, script: Callable[..., Path]
) -> None:
    restorer = load_restorer(models["denoise"], device="cpu", window_frames=4, overlap_frames=2, tile_px=0)
    expected = restorer.restore(clip, sigma_255=20, cuts=[CUT])
    done = pipe(script(f"restore(clip, model=r'{models['denoise']}', sigma=20, **options).set_output()"), "-r", "7")
    assert done.returncode == 0, done.stderr.decode()
    # stdout holds frames only: a word printed there would shift them.
    assert np.array_equal(raw_frames(done.stdout, *clip.shape[:1], *clip.shape[2:]), expected.numpy())


@pytest.mark.parametrize("task", ["deblur", "sr"])
def test_every_task_gives_the_frames_of_the_core(models: dict[str, Path], clip: torch.Tensor, task: str) -> None:
    restorer = load_restorer(models[task], device="cpu", window_frames=4, overlap_frames=1, tile_px=0)
    expected = restorer.restore(clip[:9], cuts="off").numpy()
    source = as_clip(clip[:9], vs.RGBS)
    restored = restore(source, model=str(models[task]), window=4, overlap=1, device="cpu", tile=0)
    assert differing(fetch(restored, [8, 2, 3, 0, 5]), expected) == []


def test_cuts_and_windows_matter_to_these_networks(models: dict[str, Path], clip: torch.Tensor) -> None:
    # otherwise the test above could not fail
    def restored(window: int, cuts: list[int]) -> torch.Tensor:
        restorer = load_restorer(models["deblur"], device="cpu", window_frames=window, overlap_frames=2, tile_px=0)
        return restorer.restore(clip[:7], cuts=cuts)

    reference = restored(4, [])
    assert (reference - restored(4, [5])).abs().max() > 1e-3
    assert (reference - restored(6, [])).abs().max() > 1e-3


def test_cuts_are_detected_in_the_frames(models: dict[str, Path], clip: torch.Tensor) -> None:
    scenes = torch.cat([clip[:5] / 4, 1 - clip[5:9] / 4])
    restorer = load_restorer(models["deblur"], device="cpu", window_frames=4, overlap_frames=2, tile_px=0)
    expected = restorer.restore(scenes, cuts=[5]).numpy()
    source = as_clip(scenes, vs.RGBS)
    frames = fetch(restore(source, model=str(models["deblur"]), window=4, overlap=2, device="cpu", tile=0))
    assert differing(frames, expected) == []


def test_half_frames_are_computed_in_the_faster_precision(models: dict[str, Path], clip: torch.Tensor) -> None:
    small = clip[:3, :, :16, :18]
    source, half = as_clip(small, vs.RGBH), small.half()
    pairs: list[tuple[Precision, Precision]] = [("auto", "fp32"), ("fp16", "fp16")]  # a CPU is not faster in half
    second_frames = []
    for precision, dtype in pairs:
        restorer = load_restorer(models["deblur"], device="cpu", precision=dtype, tile_px=0)
        expected = restorer.restore(half, cuts="off").half().numpy()
        frames = fetch(restore(source, model=str(models["deblur"]), device="cpu", precision=precision, tile=0))
        assert differing(frames, expected) == [], precision
        second_frames.append(frames[1])
    assert not np.array_equal(*second_frames)
