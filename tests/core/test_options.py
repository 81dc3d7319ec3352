"""The description of options matches what the engine accepts, and importing it does not import torch."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
import torch

import vrt_core
from tests.helpers.fake_restorers import fake_restorer, random_clip
from vrt_core import OPTIONS, InputError, RestoreOptions
from vrt_core.hardware import devices
from vrt_core.hardware.devices import PRECISIONS, pick_dtype
from vrt_core.loading import override_options

PUBLIC = """
Cache Cancelled CutDetector InputError MAX_SIGMA_255 MODELS ModelCard NumericsError OPTIONS Option Plan RestoreOptions
Restorer VRT VRTConfig VRTError WeightedFrame WeightsError Window blend build_network download estimate_memory
estimate_models_memory estimate_sigma export_onnx find_cuts find_model load_restorer make_restorer
"""


def test_every_field_is_described() -> None:
    assert list(OPTIONS) == [field.name for field in fields(RestoreOptions)]
    for name, option in OPTIONS.items():
        assert option.default == getattr(RestoreOptions(), name)
        assert option.help.endswith(".")


def test_choices_are_accepted_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "half_is_faster", lambda device: False)  # not measured here
    assert OPTIONS["precision"].choices == ("auto", *PRECISIONS)
    for precision in PRECISIONS:
        pick_dtype(precision, torch.device("cpu"))
    for factor in (2, 4, 8):
        assert factor in OPTIONS["factor"].choices
        RestoreOptions(factor=factor)
    with pytest.raises(InputError, match=r"factor \(3\) must be 2, 4 or 8"):
        RestoreOptions(factor=3)
    for cuts in ("auto", "off"):
        assert cuts in OPTIONS["cuts"].choices
        fake_restorer().restore(random_clip(2, 8, 8), cuts=cuts)


@pytest.mark.parametrize("name", ["window_frames", "overlap_frames", "tile_px", "tile_overlap_px", "memory_bytes"])
def test_the_minimum_is_accepted_and_less_is_not(name: str) -> None:
    minimum = OPTIONS[name].min
    assert minimum is not None
    settings: dict[str, Any] = {"overlap_frames": 0} if name == "window_frames" else {}
    settings[name] = int(minimum)
    fake_restorer(**settings)
    settings[name] -= 1
    with pytest.raises(InputError, match=name):
        fake_restorer(**settings)


def test_sigma_has_the_range_of_its_description() -> None:
    option, restorer = OPTIONS["sigma_255"], fake_restorer(sigma=True)
    assert option.min is not None
    assert option.max is not None
    for sigma in (option.min, option.max):
        restorer.restore(random_clip(2, 8, 8), sigma_255=sigma)
    for sigma in (option.min - 0.1, option.max + 0.1):
        with pytest.raises(InputError, match="sigma_255"):
            restorer.restore(random_clip(2, 8, 8), sigma_255=sigma)


def test_sigma_and_cuts_of_the_options_are_defaults_of_every_entry_point() -> None:
    clip = random_clip(9, 8, 8)
    restorer, plain = fake_restorer(sigma=True, sigma_255=20, cuts=(4,)), fake_restorer(sigma=True)
    expected = plain.restore(clip, sigma_255=20, cuts=(4,))
    assert torch.equal(restorer.restore(clip), expected)
    assert torch.equal(torch.stack(list(restorer.stream(clip))), expected)
    window = restorer.plan(9, 8, 8)[1]
    frames = clip[window.start : window.stop]
    parts = zip(
        restorer.restore_window(window, frames), plain.restore_window(window, frames, sigma_255=20), strict=True
    )
    assert all(torch.equal(a.frame, b.frame) for a, b in parts)
    assert not torch.equal(restorer.restore(clip, sigma_255=30), expected)
    assert not torch.equal(restorer.restore(clip, cuts="off"), expected)
    with pytest.raises(InputError, match="takes no noise level"):
        fake_restorer(sigma_255=20)


def test_overrides() -> None:
    options = RestoreOptions(factor=4, tile_px=64)
    assert override_options(options, {"tile_px": 0}) == RestoreOptions(factor=4, tile_px=0)
    assert override_options(None, {}) == RestoreOptions()
    with pytest.raises(InputError, match=r"unknown option 'tile': known are device, precision, window_frames"):
        override_options(options, {"tile": 64})


def test_the_public_names_are_these() -> None:
    assert sorted(vrt_core.__all__) == sorted(PUBLIC.split())
    for name in vrt_core.__all__:
        assert getattr(vrt_core, name) is not None
    assert set(vrt_core.__all__) <= set(dir(vrt_core))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        vrt_core.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_options_do_not_import_torch() -> None:
    code = "import sys; from vrt_core import OPTIONS, RestoreOptions; RestoreOptions(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
