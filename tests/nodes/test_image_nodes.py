"""The nodes that restore batches of images: equality with the core, refused inputs, memory, progress."""

import gc
import weakref
from contextlib import suppress
from typing import Any

import comfy.model_management as mm
import pytest
import torch
from torch import Tensor

from tests.helpers.live_bytes import LiveBytes
from tests.nodes.fake import FakeComfyUI
from vrt_core import InputError, RestoreOptions, load_restorer
from vrt_nodes.image_nodes import Interpolate, Restore, SpaceTimeSR
from vrt_nodes.loaded_model import is_oom, make_restorer

TILES = {"tile_px": -1, "tile_overlap_px": -1, "cuts": "auto"}
WINDOW = {"window_frames": -1, "overlap_frames": -1, **TILES}
DEFAULTS = {"sigma_255": -1.0, **WINDOW}
ALL_OPTIONS = {"window_frames": 3, "overlap_frames": 1, "tile_px": 32, "tile_overlap_px": 8, "cuts": "off"}

STRENGTH = {"strength": 0.7, "chroma_strength": 0.2}


def batch(frames: int = 4, height: int = 16, width: int = 24, channels: int = 3) -> Tensor:
    return torch.rand(frames, height, width, channels, generator=torch.Generator().manual_seed(0))


def as_clip(images: Tensor) -> Tensor:
    return images[..., :3].movedim(-1, 1)


def as_images(clip: Tensor) -> Tensor:
    return clip.clamp(0, 1).movedim(1, -1)


def restore(model: Any, images: Tensor, **widgets: Any) -> Tensor:
    return Restore.execute(model, images, **{**DEFAULTS, **widgets})[0]


# --- the same frames as the core, hence as the command line ---


@pytest.mark.parametrize(
    ("task", "widgets", "options"),
    [
        ("deblur", {}, {}),
        ("denoise", {"sigma_255": 20.0}, {"sigma_255": 20.0}),
        ("denoise", {}, {"sigma_255": "auto"}),
        ("sr", {}, {}),
        ("deblur", ALL_OPTIONS, ALL_OPTIONS),
        ("sr", STRENGTH, STRENGTH),
    ],
)
def test_restore_gives_the_frames_of_the_core(comfy: FakeComfyUI, task: str, widgets: dict, options: dict) -> None:
    images = batch(5, 21, 43)
    expected = load_restorer(comfy.path(task), device="cpu", **options).restore(as_clip(images))
    restored = restore(comfy.load(task), images, **widgets)
    assert restored.dtype == torch.float32
    assert torch.equal(restored, as_images(expected))


@pytest.mark.parametrize("factor", [2, 4])
def test_interpolate_gives_the_frames_of_the_core(comfy: FakeComfyUI, factor: int) -> None:
    images = batch(4)
    expected = load_restorer(comfy.path("interpolate"), device="cpu", factor=factor).restore(as_clip(images))
    restored = Interpolate.execute(comfy.load("interpolate"), images, factor=str(factor), **TILES)[0]
    assert torch.equal(restored, as_images(expected))
    assert torch.equal(restored[::factor], images)


def test_space_time_gives_the_frames_of_the_chain(comfy: FakeComfyUI) -> None:
    images = batch(4)
    both = f"{comfy.path('sr')}+{comfy.path('interpolate')}"
    expected = load_restorer(both, device="cpu").restore(as_clip(images))
    models = comfy.load("sr"), comfy.load("interpolate")
    restored = SpaceTimeSR.execute(models[0], images, models[1], factor="2", **WINDOW)[0]
    assert restored.shape == (8, 64, 96, 3)
    assert torch.equal(restored, as_images(expected))
    expected = load_restorer(both, device="cpu", strength=0.5).restore(as_clip(images))
    restored = SpaceTimeSR.execute(
        models[0], images, models[1], factor="2", strength=0.5, chroma_strength=-1.0, **WINDOW
    )
    assert torch.equal(restored[0], as_images(expected))


def test_a_space_time_model_needs_no_second(comfy: FakeComfyUI) -> None:
    model = comfy.load("sr")
    model.parts += comfy.load("interpolate").parts
    assert SpaceTimeSR.execute(model, batch(3), factor="2", **WINDOW)[0].shape == (6, 64, 96, 3)


def test_rgba_is_restored_without_its_alpha_and_the_user_is_warned(
    comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture
) -> None:
    images = batch(3, channels=4)
    model = comfy.load_quick("deblur")
    assert torch.equal(restore(model, images), restore(model, images[..., :3]))
    assert "alpha is left out" in caplog.text
    assert any("alpha is left out" in text for text in comfy.texts)


def test_one_frame_works_and_the_user_is_warned(comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture) -> None:
    assert restore(comfy.load_quick("deblur"), batch(1)).shape == (1, 16, 24, 3)
    assert "one frame only" in caplog.text


def test_half_precision_images_come_in(comfy: FakeComfyUI) -> None:
    images = batch(3)
    restored = restore(comfy.load("deblur"), images.half())
    torch.testing.assert_close(restored, restore(comfy.load("deblur"), images), atol=0.01, rtol=0)


# --- what is refused ---


def test_models_for_another_node_are_refused(comfy: FakeComfyUI) -> None:
    with pytest.raises(InputError, match=r"interpolate.safetensors is for the task 'interpolate'.*use VRT Interpolate"):
        restore(comfy.load("interpolate"), batch())
    with pytest.raises(InputError, match=r"VRT Interpolate takes models for interpolate.*use VRT Restore"):
        Interpolate.execute(comfy.load("sr"), batch(), factor="2", **TILES)
    with pytest.raises(InputError, match="without interpolate_model takes models for space-time-sr"):
        SpaceTimeSR.execute(comfy.load("sr"), batch(), factor="2", **WINDOW)
    with pytest.raises(InputError, match="as interpolate_model takes models for interpolate"):
        SpaceTimeSR.execute(comfy.load("sr"), batch(), comfy.load("deblur"), factor="2", **WINDOW)
    assert comfy.state.loads == []  # nothing was moved for it


def test_a_sigma_that_the_model_does_not_take_is_refused(comfy: FakeComfyUI) -> None:
    with pytest.raises(InputError, match=r"sigma_255 \(20\) was given, but model deblur.*set sigma_255 to -1"):
        restore(comfy.load("deblur"), batch(), sigma_255=20.0)


def test_one_frame_cannot_be_interpolated(comfy: FakeComfyUI) -> None:
    with pytest.raises(InputError, match="images holds 1 frame"):
        Interpolate.execute(comfy.load("interpolate"), batch(1), factor="2", **TILES)
    with pytest.raises(InputError, match=r"images holds 1 frame.*2 or more"):
        SpaceTimeSR.execute(comfy.load("sr"), batch(1), comfy.load("interpolate"), factor="2", **WINDOW)


@pytest.mark.parametrize("shape", [(0, 32, 32, 3), (2, 32, 32, 1), (32, 32, 3)])
def test_odd_batches_are_refused(comfy: FakeComfyUI, shape: tuple) -> None:
    with pytest.raises(InputError, match="images has"):
        restore(comfy.load("deblur"), torch.zeros(shape))


@pytest.mark.parametrize(
    ("widgets", "match"),
    [
        ({"window_frames": 0}, "window_frames"),
        ({"overlap_frames": 40}, "overlap_frames"),
        ({"tile_px": 20}, "tile_px"),
        ({"tile_px": 32, "tile_overlap_px": 24}, "tile_overlap_px"),
    ],
)
def test_wrong_options_are_refused_by_name(comfy: FakeComfyUI, widgets: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        restore(comfy.load("deblur"), batch(), **widgets)


def test_precisions_are_not_mixed(comfy: FakeComfyUI) -> None:
    models = comfy.load("sr"), comfy.load("interpolate", "bf16")
    with pytest.raises(InputError, match="differ in precision"):
        SpaceTimeSR.execute(models[0], batch(3), models[1], factor="2", **WINDOW)


# --- memory belongs to ComfyUI ---


def test_comfyui_is_asked_for_the_memory_that_the_core_estimates(comfy: FakeComfyUI) -> None:
    model = comfy.load("deblur")
    make_restorer([model], RestoreOptions(), (6, 64, 64))
    make_restorer([model], RestoreOptions(), (6, 512, 512))
    make_restorer([model], RestoreOptions(tile_px=64), (6, 512, 512))
    whole, large, tiled = comfy.state.loads
    patcher = model.parts[0][1]
    assert [load["models"] for load in (whole, large, tiled)] == [[patcher]] * 3  # one load serves all runs
    assert all(load["force_full_load"] for load in (whole, large, tiled))
    restorer = load_restorer(comfy.path("deblur"), device="cpu", tile_px=0)
    assert whole["memory"] == restorer.estimate_bytes(6, 64, 64)
    assert large["memory"] > 4 * whole["memory"]
    assert tiled["memory"] < large["memory"]


@pytest.mark.parametrize("moves_models", [True, False])
def test_the_whole_network_is_on_the_device_whatever_comfyui_does(comfy: FakeComfyUI, moves_models: bool) -> None:
    """With --novram, ComfyUI moves nothing of a plain module."""
    comfy.state.device, comfy.state.moves_models = torch.device("meta"), moves_models
    model = comfy.load("deblur")
    network = model.parts[0][1].model
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    restorer = make_restorer([model], RestoreOptions(), (6, 64, 64))
    assert {t.device.type for t in (*network.parameters(), *network.buffers())} == {"meta"}
    assert restorer.device.type == "meta"


def test_a_network_is_cast_before_comfyui_measures_it(comfy: FakeComfyUI) -> None:
    network = comfy.load("deblur", "bf16").parts[0][1].model
    assert network.conv_first.weight.dtype == torch.bfloat16


def test_out_of_memory_makes_tiles_smaller(comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture) -> None:
    model = comfy.load("deblur")
    network = model.parts[0][1].model
    forward_before, sizes = network.forward, []

    def forward(clip: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        sizes.append(tuple(clip.shape[-2:]))
        if clip.shape[-1] > 64:
            raise mm.OOM_EXCEPTION("out of memory")
        return forward_before(clip, *args, **kwargs)

    network.forward = forward
    assert restore(model, batch(2, 32, 96)).shape == (2, 32, 96, 3)
    assert sizes[0] == (32, 96)
    assert sizes[-1] == (32, 64)
    assert "out of memory" in caplog.text


def test_out_of_memory_for_good_is_comfyuis_own_error(comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture) -> None:
    """It unloads all models then."""
    model = comfy.load("deblur")

    def forward(clip: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        raise mm.OOM_EXCEPTION("out of memory")

    model.parts[0][1].model.forward = forward
    with pytest.raises(mm.OOM_EXCEPTION):
        restore(model, batch(2, 32, 96))
    assert "the smallest it takes" in caplog.text


def test_a_cancel_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_oom(mm.OOM_EXCEPTION())
    assert not is_oom(mm.InterruptProcessingException())
    monkeypatch.setattr(mm, "is_oom", lambda error: isinstance(error, KeyError), raising=False)
    assert is_oom(KeyError())  # from 0.17 on, ComfyUI knows more kinds


def test_nothing_of_a_run_stays_in_memory(comfy: FakeComfyUI) -> None:
    model = comfy.load("deblur")
    with LiveBytes() as live:
        restored = restore(model, batch(6))
        del restored
        gc.collect()
    weights = sum(t.nbytes for t in model.parts[0][1].model.parameters())  # counted, since they are looked at
    assert live.now < weights + 1024


def test_networks_go_with_the_last_model_that_holds_them(comfy: FakeComfyUI) -> None:
    """Without the garbage collector: until it runs, they would fill the device, and ComfyUI warns of a leak."""
    models = [comfy.load("sr"), comfy.load("interpolate")]
    networks = [weakref.ref(model.parts[0][1].model) for model in models]
    gc.collect()
    gc.disable()
    try:
        SpaceTimeSR.execute(models[0], batch(3), models[1], factor="2", **WINDOW)
        comfy.state.loads.clear()
        models.clear()
        assert [network() for network in networks] == [None, None]
    finally:
        gc.enable()


@pytest.mark.gpu
@pytest.mark.parametrize("cancel_after", [-1, 40])
def test_nothing_of_a_run_stays_on_the_device(comfy: FakeComfyUI, cancel_after: int) -> None:
    comfy.state.device = torch.device("cuda")
    model = comfy.load("deblur")
    restore(model, batch())  # the first run leaves workspaces of CUDA's libraries
    before = torch.cuda.memory_allocated()
    comfy.state.checks, comfy.state.cancel_after = 0, cancel_after
    with suppress(mm.InterruptProcessingException):
        restore(model, batch())
    gc.collect()
    assert torch.cuda.memory_allocated() == before


# --- progress and cancel ---


def test_progress_reaches_the_end_with_a_preview_and_a_rate(comfy: FakeComfyUI) -> None:
    restore(comfy.load_quick("sr"), batch(6))
    values = [value / total for value, total, _ in comfy.bar]
    assert values == sorted(values)
    assert values[-1] == 1
    kind, picture, _ = next(preview for _, _, preview in comfy.bar if preview)
    assert kind == "JPEG"
    assert picture.size == (96, 64)
    assert "6/6 frames" in comfy.texts[-1]
    assert "fps" in comfy.texts[-1]


def test_previews_are_few(comfy: FakeComfyUI) -> None:
    restore(comfy.load_quick("deblur"), batch(12, 16, 16))
    assert sum(preview is not None for _, _, preview in comfy.bar) < 6


def test_a_cancel_stops_within_a_block(comfy: FakeComfyUI) -> None:
    model = comfy.load("deblur")
    comfy.state.cancel_after = 10
    with pytest.raises(mm.InterruptProcessingException):
        restore(model, batch(12))
    assert comfy.state.checks == 11  # the first that raised was the last
    comfy.state.cancel_after = -1
    assert restore(model, batch(2)).shape == (2, 16, 24, 3)  # and nothing is left in the way


def test_checks_come_for_every_block(comfy: FakeComfyUI) -> None:
    model = comfy.load("deblur")
    restore(model, batch(4), cuts="off")
    assert comfy.state.checks > len(model.parts[0][1].model.config.depths)
