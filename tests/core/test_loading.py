"""From names and files to restorers, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.test_real_network import CONFIGS, task_of
from tests.helpers.fake_restorers import FakeNetwork, fake_restorer, random_clip
from vrt_core import InputError, WeightsError, build_network
from vrt_core.hardware import devices
from vrt_core.hardware.devices import pick_device, pick_dtype
from vrt_core.inference import tile_executor
from vrt_core.inference.runner import FrameInterpolator, FrameRestorer
from vrt_core.loading import load_restorer, make_runner
from vrt_core.models.cards import ModelCard
from vrt_core.models.checkpoint import save_weights
from vrt_core.options import RestoreOptions


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model of each kind, with random weights."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for name, config in CONFIGS.items():
        paths[name] = folder / f"{name}.safetensors"
        card = ModelCard(
            name=name, task=task_of(name), scale=config["upscale"], config=config, window_frames=5, overlap_frames=2
        )
        save_weights(paths[name], build_network(**config).state_dict(), card=card)
    return paths


def test_a_file_says_what_it_is(files: dict[str, Path]) -> None:
    restorer = load_restorer(files["denoise"], device="cpu")
    (runner,) = restorer.runners
    assert isinstance(runner, FrameRestorer)
    assert (restorer.card.name, restorer.scale, restorer.frame_factor) == ("denoise", 1, 1)
    assert restorer.needs_sigma
    assert (restorer.device, restorer.dtype) == (torch.device("cpu"), torch.float32)
    assert (runner.window_frames, runner.overlap_frames) == (5, 2)
    assert isinstance(load_restorer(str(files["interpolate"]), device="cpu").runners[0], FrameInterpolator)


def test_a_model_without_parameters_is_known_by_its_card(files: dict[str, Path], tmp_path: Path) -> None:
    restorer = load_restorer(files["prior_alone"], device="cpu")
    assert restorer.needs_sigma
    assert restorer.restore(random_clip(2, 9, 8), sigma_255=20).shape == (2, 3, 9, 8)
    save_weights(tmp_path / "empty.safetensors", {})
    with pytest.raises(WeightsError, match="fits no model known"):
        load_restorer(tmp_path / "empty.safetensors")


def test_chains(files: dict[str, Path]) -> None:
    restorer = load_restorer(f"{files['sr']}+{files['interpolate']}", device="cpu", factor=4, window_frames=4)
    assert (restorer.scale, restorer.frame_factor, len(restorer.runners)) == (2, 4, 3)
    assert restorer.runners[1] is restorer.runners[2]
    assert restorer.card.name == "sr+interpolate+interpolate"
    assert restorer.restore(random_clip(2, 8, 8)).shape == (8, 3, 16, 16)


@pytest.mark.parametrize(("factor", "runners"), [(2, 1), (4, 2), (8, 3)])
def test_factor_repeats_interpolation(files: dict[str, Path], factor: int, runners: int) -> None:
    restorer = load_restorer(files["interpolate"], device="cpu", factor=factor)
    assert (restorer.frame_factor, len(restorer.runners)) == (factor, runners)


def test_options_reach_the_engine(files: dict[str, Path]) -> None:
    restorer = load_restorer(
        files["sr"], device="cpu", precision="bf16", window_frames=3, overlap_frames=1, tile_px=64, tile_overlap_px=24
    )
    assert restorer.dtype == torch.bfloat16
    assert restorer.plan(9, 100, 100)[1].start == 2
    assert restorer.runners[0].tile_size(100, 100) == (64, 64)
    assert {p.dtype for name, p in restorer.runners[0].network.named_parameters() if "spynet" not in name} == {
        torch.bfloat16
    }


def test_default_overlap_fits_a_short_window(files: dict[str, Path]) -> None:
    restorer = load_restorer(files["sr"], device="cpu", window_frames=3)
    assert [window.start for window in restorer.plan(7, 8, 8)] == [0, 2, 4]


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("sr", {"device": "gpu"}, r"device \('gpu'\) is unknown"),
        ("sr", {"device": "meta"}, "not available"),
        ("sr", {"precision": "fp8"}, r"precision \('fp8'\) must be auto, fp32, fp16, bf16"),
        ("sr", {"window_frames": 0}, r"window_frames \(0\)"),
        ("sr", {"window_frames": 4.0}, "window_frames"),
        (
            "sr",
            {"window_frames": 4, "overlap_frames": 3},
            r"overlap_frames \(3\).*half of window_frames \(4\).* 2 frames",
        ),
        ("sr", {"tile_px": 33}, r"tile_px \(33\)"),
        ("sr", {"tile_px": 64, "tile_overlap_px": 40}, "tile_overlap_px"),
        ("sr", {"memory_bytes": 0}, "memory_bytes"),
        ("sr", {"factor": 4}, r"factor \(4\).*does not interpolate"),
        ("interpolate", {"factor": 3}, r"factor \(3\) must be 2, 4 or 8"),
        ("interpolate", {"window_frames": 8}, "always sees 4 frames"),
    ],
)
def test_bad_options(files: dict[str, Path], task: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_restorer(files[task], **{"device": "cpu", **options})


@pytest.mark.parametrize(
    ("name", "error"), [("no-such-model", InputError), ("sr.safetensors", WeightsError), ("008+no-such", InputError)]
)
def test_bad_names(name: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path))
    with pytest.raises(error):
        load_restorer(name, device="cpu")


def test_named_chain_asks_for_the_weights_of_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="vrt download 003_VRT"):
        load_restorer("010", device="cpu")


def test_card_and_network_must_fit() -> None:
    for network, task, scale, words in [
        (FakeNetwork(scale=2), "sr", 4, "has scale 4, but its network enlarges x2"),
        (FakeNetwork(), "denoise", 1, "takes no noise level"),
        (FakeNetwork(sigma=True), "deblur", 1, "takes a noise level"),
        (FakeNetwork(interpolates=True), "sr", 1, "its network interpolates"),
        (FakeNetwork(), "interpolate", 1, "does not interpolate"),
    ]:
        card = ModelCard(name="x", task=task, scale=scale, window_frames=4)
        with pytest.raises(InputError, match=words):
            make_runner(network, card, RestoreOptions())  # type: ignore[arg-type]


def test_devices_and_precisions_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "half_is_faster", lambda device: False)  # not measured here
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    assert pick_device("auto").type in {"cpu", "cuda", "xpu", "mps"}
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("fp16", torch.device("cpu")) == torch.float16
    with pytest.raises(InputError, match=r"not available|does not exist"):
        pick_device("cuda:99")


@pytest.mark.parametrize(
    ("single", "half", "expected"), [(1.0, 0.5, torch.float16), (1.0, 0.9, torch.float32), (1.0, None, torch.float32)]
)
def test_precision_follows_from_a_probe(
    monkeypatch: pytest.MonkeyPatch, single: float, half: float | None, expected: torch.dtype
) -> None:
    probed = []

    def seconds(device: torch.device, dtype: torch.dtype) -> float:
        probed.append(dtype)
        if dtype == torch.float16 and half is None:
            raise RuntimeError("not implemented for 'Half'")
        return single if dtype == torch.float32 else half or 0

    monkeypatch.setattr(devices, "_probe_seconds", seconds)
    devices.half_is_faster.cache_clear()
    for _ in range(2):
        assert pick_dtype("auto", torch.device("cuda:3")) == expected
    assert probed == [torch.float32, torch.float16], "once in a process"
    devices.half_is_faster.cache_clear()


@pytest.mark.parametrize("faster", [True, False])
def test_half_precision_on_a_cpu_that_gains_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, faster: bool
) -> None:
    monkeypatch.setattr(devices, "half_is_faster", lambda device: faster)
    for precision in ("auto", "bf16", "fp32"):
        pick_dtype(precision, torch.device("cpu"))
    assert not caplog.records
    assert pick_dtype("fp16", torch.device("cpu")) == torch.float16
    assert ["gains nothing from fp16" in record.message for record in caplog.records] == [True] * (not faster)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_probe_computes_what_it_should(dtype: torch.dtype) -> None:
    assert 0 < devices._probe_seconds(torch.device("cpu"), dtype, windows=1) < 10


def test_only_whole_windows_run_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.Size] = []

    def compile_parts(network: Any) -> Any:
        def run(clip: torch.Tensor, flows: Any, on_block: Any) -> torch.Tensor:
            compiled.append(clip.shape)
            return network(clip, flows, on_block=on_block)

        return run

    monkeypatch.setattr(tile_executor, "compile_parts", compile_parts)
    clip = random_clip(11, 8, 8)
    restorer = fake_restorer(compile=True, min_px=8)
    assert torch.equal(restorer.restore(clip, cuts=(9,)), fake_restorer().restore(clip, cuts=(9,)))
    segments = [segment for window in restorer.plan(11, 8, 8, cuts=(9,)) for segment in window.segments]
    assert compiled == [(1, 4, 3, 8, 8)] * sum(len(segment) == 4 for segment in segments)
    assert 0 < len(compiled) < len(segments)
