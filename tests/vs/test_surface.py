"""Names, kinds and defaults of the filter's arguments. A change here breaks the scripts of users."""

import inspect
import typing
from pathlib import Path

import vs_plugin
from vrt_core.options import Precision
from vs_plugin import restore
from vs_plugin.scene_props import CutSource

DEFAULTS = {
    "model": "denoise-small",
    "sigma": None,
    "factor": 2,
    "device": "auto",
    "precision": "auto",
    "window": None,
    "overlap": None,
    "tile": "auto",
    "tile_overlap": None,
    "cuts": "auto",
    "num_streams": 1,
    "compile": False,
    "strength": 1.0,
    "chroma_strength": None,
}


def test_arguments_are_never_lost() -> None:
    clip, *options = inspect.signature(restore).parameters.values()
    assert (clip.name, clip.kind) == ("clip", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}
    assert {option.name: option.default for option in options} == DEFAULTS
    assert set(typing.get_args(CutSource)) >= {"props", "auto", "off"}
    assert set(typing.get_args(Precision)) >= {"auto", "fp32", "fp16", "bf16"}


def test_arguments_are_explained_and_typed() -> None:
    assert restore.__doc__ is not None
    for name in DEFAULTS:
        assert f"\n        {name}: " in restore.__doc__ or f"\n    {name}: " in restore.__doc__, name
        assert restore.__annotations__[name]
    assert Path(vs_plugin.__file__).with_name("py.typed").exists()
