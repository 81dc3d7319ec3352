"""The restorer with small real networks of random weights: what a fake network cannot show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.fake_restorers import by_windows, random_clip
from tests.helpers.live_bytes import LiveBytes
from vrt_core import build_network
from vrt_core.errors import OutOfMemoryError
from vrt_core.inference.memory import (
    estimate_flow_memory,
    estimate_group_filter_memory,
    estimate_memory,
    estimate_prior_memory,
)
from vrt_core.inference.runner import ModelRunner
from vrt_core.loading import make_runner
from vrt_core.models.cards import ModelCard
from vrt_core.network.ops import chunking
from vrt_core.options import RestoreOptions
from vrt_core.restorer import Restorer

SMALL: dict[str, Any] = {
    "img_size": [4, 32, 32],
    "window_size": [2, 4, 4],
    "depths": [1] * 8,
    "indep_reconsts": [],
    "embed_dims": [8] * 8,
    "num_heads": [2] * 8,
    "deformable_groups": 2,
    "flow_channels": [4, 4, 4, 4],
    "head_channels": 8,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "sr": {**SMALL, "upscale": 2, "pa_frames": 4},
    "denoise": {**SMALL, "upscale": 1, "pa_frames": 2, "nonblind_denoising": True},
    "prior": {**SMALL, "upscale": 1, "pa_frames": 2, "nonblind_denoising": True, "prior_step_px": 6},
    "prior_alone": {
        "upscale": 1,
        "depths": [],
        "embed_dims": [],
        "num_heads": [],
        "nonblind_denoising": True,
        "prior_step_px": 6,
    },
    "prior_groups": {
        **SMALL,
        "upscale": 1,
        "pa_frames": 2,
        "nonblind_denoising": True,
        "prior_step_px": 6,
        "group_passes": 2,
    },
    "deblur": {**SMALL, "upscale": 1, "pa_frames": 2, "shutters": [0.5, 1.0]},
    "interpolate": {**SMALL, "upscale": 1, "pa_frames": 0},
}


def task_of(name: str) -> str:
    return "denoise" if name.startswith("prior") else name


def small_runner(task: str, **options: Any) -> ModelRunner:
    torch.manual_seed(1)
    network = build_network(**CONFIGS[task])
    with torch.no_grad():  # flows of a few pixels, and results that differ from the input
        for name, parameter in network.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.05 if "spynet" in name else 0.02))
    window = 4 if task == "interpolate" else 5
    card = ModelCard(
        name=task, task=task_of(task), scale=CONFIGS[task]["upscale"], window_frames=window, overlap_frames=2
    )
    extras = {key: options.pop(key) for key in ("dtype", "device") if key in options}
    return make_runner(network, card, RestoreOptions(**options), **extras)


def small_restorer(task: str, **options: Any) -> Restorer:
    return Restorer([small_runner(task, **options)])


@pytest.mark.parametrize(
    ("task", "size", "tile"),
    [
        ("sr", (40, 35), 0),
        ("deblur", (50, 40), 32),
        ("denoise", (9, 50), 32),
        ("prior", (40, 35), 32),
        ("prior_alone", (40, 35), 32),
        ("interpolate", (40, 35), 32),
    ],
)
def test_entry_points_agree(task: str, size: tuple[int, int], tile: int) -> None:
    restorer = small_restorer(task, tile_px=tile)
    clip = random_clip(9, *size)
    options: Any = {"sigma_255": 20} if restorer.needs_sigma else {}
    cuts = (6,)
    whole = restorer.restore(clip, cuts=cuts, **options)
    assert whole.shape == (9 * restorer.frame_factor, 3, size[0] * restorer.scale, size[1] * restorer.scale)
    assert torch.equal(whole, torch.stack(list(restorer.stream(iter(clip), cuts=cuts, **options))))
    last_first = list(range(len(restorer.plan(9, *size, cuts=cuts))))[::-1]
    cached = by_windows(restorer, clip, cuts=cuts, order=last_first, cache=restorer.new_cache(), **options)
    assert torch.equal(whole, cached)


@pytest.mark.parametrize("task", ["sr", "denoise"])
def test_flows_handed_in_are_those_the_network_finds(task: str) -> None:
    restorer = small_restorer(task, tile_px=0)
    clip = random_clip(5, 32, 40)
    options: Any = {"sigma_255": 20} if restorer.needs_sigma else {}
    out = restorer.restore(clip, cuts="off", **options)
    with torch.inference_mode():
        level = torch.full((5, 1, 32, 40), 20 / 255)
        expected = restorer.runners[0].network((torch.cat((clip, level), 1) if restorer.needs_sigma else clip)[None])[0]
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


def test_layout_of_frames_in_memory_does_not_matter() -> None:
    restorer = small_restorer("sr", tile_px=32)
    clip = random_clip(4, 40, 32)
    channels_last = clip.contiguous(memory_format=torch.channels_last)
    expected = restorer.restore(clip, cuts="off")
    assert torch.equal(restorer.restore(channels_last, cuts="off"), expected)
    assert torch.equal(torch.stack(list(restorer.stream(channels_last, cuts="off"))), expected)
    assert torch.equal(by_windows(restorer, channels_last), expected)
    assert torch.equal(restorer.restore(clip.repeat_interleave(2, dim=0)[::2], cuts="off"), expected)


def test_modes_of_the_caller_do_not_matter() -> None:
    restorer = small_restorer("denoise")
    clip = random_clip(2, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = restorer.restore(clip, sigma_255=20)
    assert torch.equal(results, restorer.restore(clip, sigma_255=20))


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("task", CONFIGS)
def test_shortest_clips_and_smallest_frames(task: str, frames: int) -> None:
    restorer = small_restorer(task)
    options: Any = {"sigma_255": 0} if restorer.needs_sigma else {}
    out = restorer.restore(random_clip(frames, 1, 1), **options)
    assert out.shape == (frames * restorer.frame_factor, 3, restorer.scale, restorer.scale)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    clip = random_clip(3, 32, 32)
    out = small_restorer("denoise", dtype=dtype).restore(clip, sigma_255=20)
    expected = small_restorer("denoise").restore(clip, sigma_255=20)
    assert out.dtype == torch.float32
    assert (out - expected).abs().mean() < 0.02


def test_space_time_super_resolution() -> None:
    restorer = Restorer([small_runner("sr"), small_runner("interpolate")])
    clip = random_clip(5, 20, 24)
    whole = restorer.restore(clip, cuts=(3,))
    assert whole.shape == (10, 3, 40, 48)
    assert torch.equal(whole, torch.stack(list(restorer.stream(clip, cuts=(3,)))))
    assert torch.equal(whole, by_windows(restorer, clip, cuts=(3,), cache=restorer.new_cache()))


def test_check_is_called_inside_the_network() -> None:
    restorer = small_restorer("denoise")
    calls = []
    restorer.restore(random_clip(2, 32, 32), sigma_255=20, check=lambda: calls.append(1))
    assert len(calls) > 10


@pytest.mark.parametrize(
    ("task", "frames", "change", "dtype"),
    [
        ("sr", 6, {"upscale": 4}, torch.float32),
        ("sr", 3, {"pa_frames": 6, "deformable_groups": 6, "embed_dims": [24] * 8}, torch.float32),
        ("denoise", 6, {"embed_dims": [16] * 7 + [32]}, torch.float32),
        ("denoise", 12, {}, torch.float16),
        ("interpolate", 4, {"embed_dims": [24] * 8}, torch.float32),
    ],
)
def test_estimate_is_near_and_not_too_low(task: str, frames: int, change: dict, dtype: torch.dtype) -> None:
    config = {**CONFIGS[task], **change}
    network = build_network(**config).to_precision(dtype)
    side = 96
    clip = torch.rand(1, frames, 3 + network.config.nonblind_denoising, side, side)
    constant = estimate_memory(config, 1, 1, 1)
    with torch.inference_mode():
        a = torch.rand(2, 3, side, side)
        with LiveBytes() as for_flows:
            pair = network.flows(a, a.flip(0)) if network.uses_flows else None
        flows = None
        if pair is not None:
            flows = tuple(tuple(level[i][None, None].repeat(1, frames - 1, 1, 1, 1) for level in pair) for i in (0, 1))
            assert for_flows.peak <= estimate_flow_memory(network.config, side, side)
        with LiveBytes() as live:
            network(clip, flows)  # type: ignore[arg-type]
    estimate = estimate_memory(config, frames, side, side, dtype)
    assert live.peak <= estimate, (live.peak >> 10, estimate >> 10)
    assert estimate - constant < 2 * live.peak, (live.peak >> 10, estimate - constant >> 10)


@pytest.mark.parametrize(
    ("frames", "height", "width", "band_bytes"),
    [(6, 96, 96, 16 << 20), (18, 200, 64, 16 << 20), (1, 64, 300, 16 << 20), (2, 600, 100, 1 << 20)],
)
def test_estimate_of_the_prior_is_near_and_not_too_low(
    frames: int, height: int, width: int, band_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "_BAND_BYTES", band_bytes)
    network = build_network(**CONFIGS["prior"])
    clip = torch.rand(1, frames, 4, height, width)
    with torch.inference_mode(), LiveBytes() as live:
        network.append_prior(clip)
    estimate = estimate_prior_memory(network.config, frames, height, width, torch.device("cpu"))
    assert live.peak <= estimate, (live.peak >> 10, estimate >> 10)
    assert estimate - (16 << 20) < 1.5 * live.peak, (live.peak >> 10, estimate >> 10)


@pytest.mark.parametrize(
    ("frames", "height", "width", "band_bytes"),
    [(6, 96, 96, 1 << 30), (18, 200, 64, 1 << 30), (1, 64, 300, 1 << 30), (2, 600, 100, 1 << 20)],
)
def test_estimate_of_the_group_filter_is_near_and_not_too_low(
    frames: int, height: int, width: int, band_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "_BAND_BYTES", band_bytes)
    network = build_network(**CONFIGS["prior_groups"])
    clip = torch.rand(1, frames, 4, height, width)
    restored = torch.rand(1, frames, 3, height, width)
    with torch.inference_mode(), LiveBytes() as live:
        network.filter_groups(clip, restored)
    estimate = estimate_group_filter_memory(network.config, frames, height, width, torch.device("cpu"))
    assert live.peak <= estimate, (live.peak >> 10, estimate >> 10)
    assert estimate - (16 << 20) < 1.3 * live.peak, (live.peak >> 10, estimate >> 10)


def test_a_group_filter_that_does_not_fit_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    restorer = small_restorer("prior_groups")
    monkeypatch.setattr(restorer.runners[0].network, "filter_groups", run_out)
    with pytest.raises(OutOfMemoryError, match="the group filter of 2 frames of 30x30 px does not fit; set a smaller"):
        restorer.restore(random_clip(2, 30, 30), sigma_255=20)


def test_a_cache_serves_each_noise_level_with_its_own_flows() -> None:
    restorer, clip = small_restorer("prior"), random_clip(9, 32, 32)
    cache = restorer.new_cache()
    by_windows(restorer, clip, cuts=(), cache=cache, sigma_255=5)
    assert torch.equal(
        by_windows(restorer, clip, cuts=(), cache=cache, sigma_255=50),
        by_windows(restorer, clip, cuts=(), cache=restorer.new_cache(), sigma_255=50),
    )


def test_a_prior_that_does_not_fit_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    restorer = small_restorer("prior")
    monkeypatch.setattr(restorer.runners[0].network, "append_prior", run_out)
    with pytest.raises(
        OutOfMemoryError, match="the frequency prior of 2 frames of 32x32 px does not fit; set a smaller"
    ):
        restorer.restore(random_clip(2, 30, 30), sigma_255=20)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_entry_points_agree_on_a_gpu_wherever_the_frames_are(dtype: torch.dtype) -> None:
    restorer = small_restorer("sr", tile_px=32, device=torch.device("cuda"), dtype=dtype)
    clip = random_clip(9, 40, 50)
    whole = restorer.restore(clip, cuts=(6,))
    assert whole.device.type == "cpu"
    assert torch.equal(whole, torch.stack(list(restorer.stream(iter(clip), cuts=(6,)))))
    assert torch.equal(whole, by_windows(restorer, clip, cuts=(6,), cache=restorer.new_cache()))
    there = restorer.restore(clip.cuda(), cuts=(6,))
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(small_restorer("sr", tile_px=32).restore(clip, cuts=(6,)), whole, atol=0.02, rtol=0.02)
