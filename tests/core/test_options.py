"""The table of options says what the engine does; and importing it, or the package, costs next to nothing."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import vrt_core
from tests.core.fakes import fake_link, random_clip
from vrt_core import OPTIONS, InputError, Restorer, load_restorer
from vrt_core.hardware.devices import PRECISIONS, pick_dtype
from vrt_core.loading import check_factor


@pytest.mark.parametrize("name", list(OPTIONS))
def test_defaults_are_those_of_the_functions(name: str) -> None:
    doors = inspect.signature(Restorer.restore).parameters
    parameter = doors.get(name) or inspect.signature(load_restorer).parameters[name]
    assert parameter.default == OPTIONS[name].default


def test_choices_are_all_there_are() -> None:
    assert OPTIONS["precision"].choices == ("auto", *PRECISIONS)
    for precision in OPTIONS["precision"].choices:
        pick_dtype(str(precision), torch.device("cpu"))
    for factor in OPTIONS["factor"].choices:
        check_factor(factor)
    with pytest.raises(InputError, match="factor"):
        check_factor(3)
    for cuts in OPTIONS["cuts"].choices:
        fake_link().restore(random_clip(2, 8, 8), cuts=cuts)


@pytest.mark.parametrize("name", ["window_frames", "overlap_frames", "tile_px", "tile_overlap_px"])
def test_the_least_value_is_taken_and_less_is_not(name: str) -> None:
    least = OPTIONS[name].least
    assert least is not None
    settings: dict[str, Any] = {"overlap_frames": 0} if name == "window_frames" else {}
    settings[name] = int(least)
    fake_link(**settings)
    settings[name] -= 1
    with pytest.raises(InputError, match=name):
        fake_link(**settings)


def test_sigma_has_the_range_of_the_table() -> None:
    option, link = OPTIONS["sigma_255"], fake_link(sigma=True)
    assert option.least is not None
    assert option.most is not None
    for sigma in (option.least, option.most):
        link.restore(random_clip(2, 8, 8), sigma_255=sigma)
    for sigma in (option.least - 0.1, option.most + 0.1):
        with pytest.raises(InputError, match="sigma_255"):
            link.restore(random_clip(2, 8, 8), sigma_255=sigma)


def test_the_package_offers_all_its_names_and_no_others() -> None:
    assert set(vrt_core._MODULE_OF) == set(vrt_core.__all__)
    for name in vrt_core.__all__:
        assert getattr(vrt_core, name) is not None
    assert set(vrt_core.__all__) <= set(dir(vrt_core))
    assert not {path.stem for path in Path(vrt_core.__file__).parent.glob("*.py")} & set(
        vrt_core.__all__
    )  # else: which?
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        vrt_core.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_options_are_there_without_torch() -> None:
    code = "import sys; from vrt_core import OPTIONS; assert OPTIONS; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
