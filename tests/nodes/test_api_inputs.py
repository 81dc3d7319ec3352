"""Inputs that the API lets through, but no widget has: each ends in a sentence that names it."""

from typing import Any

import pytest
import torch

from tests.helpers.video_files import make_video
from tests.nodes.fake import FakeComfyUI
from tests.nodes.videos import from_file, restore
from vrt_core import InputError, VRTError
from vrt_nodes.image_nodes import Interpolate, Restore
from vrt_nodes.load_node import LoadModel

NAN = float("nan")
WIDGETS: dict[str, Any] = {
    "sigma_255": -1.0, "window_frames": -1, "overlap_frames": -1, "tile_px": -1, "tile_overlap_px": -1, "cuts": "auto"
}  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"cuts": "12,20"}, r"cuts \('12,20'\) must be one of auto, off"),
        ({"cuts": None}, r"cuts \(None\) must be one of auto, off"),
        ({"cuts": [12, 20]}, r"cuts \(\[12, 20\]\) must be one of"),
        ({"window_frames": "6"}, r"window_frames \('6'\) must be a whole number of at least 1"),
        ({"window_frames": 0}, r"window_frames \(0\) must be"),
        ({"window_frames": NAN}, r"window_frames \(nan\) must be"),
        ({"overlap_frames": 2.5}, r"overlap_frames \(2\.5\)"),
        ({"tile_px": "big"}, r"tile_px \('big'\)"),
        ({"tile_px": NAN}, r"tile_px \(nan\)"),
        ({"tile_px": [64, None]}, r"tile_px"),
        ({"tile_overlap_px": "8"}, r"tile_overlap_px \('8'\)"),
    ],
)
def test_options_of_images(comfy: FakeComfyUI, inputs: dict[str, Any], message: str) -> None:
    model = comfy.load_quick("deblur")
    with pytest.raises(InputError, match=message):
        Restore.execute(model, torch.rand(3, 16, 24, 3), **{**WIDGETS, **inputs})


@pytest.mark.parametrize("sigma_255", ["25", NAN, float("inf"), True, [1]])
def test_sigma(comfy: FakeComfyUI, sigma_255: Any) -> None:
    model = comfy.load_quick("denoise")
    with pytest.raises(InputError, match="sigma_255"):
        Restore.execute(model, torch.rand(3, 16, 24, 3), **{**WIDGETS, "sigma_255": sigma_255})


@pytest.mark.parametrize("factor", ["3", 3, None, NAN, "two"])
def test_factor(comfy: FakeComfyUI, factor: Any) -> None:
    model = comfy.load_quick("interpolate")
    widgets = {"tile_px": -1, "tile_overlap_px": -1, "cuts": "off"}
    with pytest.raises(InputError, match=r"factor \(.*\) must be one of 2, 4, 8"):
        Interpolate.execute(model, torch.rand(3, 16, 24, 3), factor=factor, **widgets)


@pytest.mark.parametrize("crf", [NAN, float("inf"), -1, 52, "16", None, True])
def test_crf(comfy: FakeComfyUI, crf: Any) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=2, codec="libx264", size=(32, 48))
    with pytest.raises(InputError, match=r"crf \(.*\) must be a number from 0 to 51"):
        restore(comfy.load_quick("deblur"), from_file(source), crf=crf)
    assert comfy.files() == []


@pytest.mark.parametrize("name", [None, 7, ["a"], {"a": 1}, "", "../../secret.safetensors", "gone"])
def test_model_name(comfy: FakeComfyUI, name: Any) -> None:
    assert "model_name" in str(LoadModel.validate_inputs(name))
    for call in (lambda: LoadModel.execute(name, "auto"), lambda: LoadModel.fingerprint_inputs(name, "auto")):
        with pytest.raises(VRTError, match="model_name"):
            call()


@pytest.mark.parametrize("precision", [None, "fp8", 16, ["fp16"]])
def test_precision(comfy: FakeComfyUI, precision: Any) -> None:
    with pytest.raises(InputError, match="precision"):
        LoadModel.execute("deblur.safetensors", precision)
