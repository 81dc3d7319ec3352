"""What goes wrong says so in one line, with what to do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import vapoursynth as vs

import vs_plugin.filter
from tests.vs.fake import FakeRestorer, Source, core, fetch, windowed
from vrt_core import InputError, WeightsError
from vs_plugin import restore
from vs_plugin.arguments import check_in_memory
from vs_plugin.errors import one_line
from vs_plugin.workers import make_lanes


@pytest.fixture
def clip() -> vs.VideoNode:
    return core.std.BlankClip(None, 16, 16, vs.RGBS, 5)


def refusal(*args, **options) -> str:
    with pytest.raises(vs.Error) as caught:
        restore(*args, **options)
    message = str(caught.value)
    assert message.startswith("vrt: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("vs_format", "advice"),
    [(vs.YUV420P8, "format=vs.RGBS, matrix_in_s='709'"), (vs.RGB24, "format=vs.RGBS)"), (vs.GRAYS, "matrix_in_s")],
)
def test_other_formats_are_told_how_to_convert(vs_format: int, advice: str) -> None:
    message = refusal(core.std.BlankClip(None, 16, 16, vs_format, 5))
    assert advice in message
    assert vs.core.get_video_format(vs_format).name in message
    assert "RGBS or RGBH" in message


def test_variable_clips_are_refused(clip: vs.VideoNode) -> None:
    size = core.std.Splice([clip, core.std.BlankClip(clip, 32, 32)], mismatch=True)
    kind = core.std.Splice([clip, core.std.BlankClip(clip, format=vs.RGBH)], mismatch=True)
    assert "make it constant" in refusal(size)
    assert "make it constant" in refusal(kind)


def test_a_clip_must_be_a_clip() -> None:
    assert "got str" in refusal("in.mkv")


def test_clips_on_the_gpu_are_refused(clip: vs.VideoNode) -> None:
    """Whether a clip is there can be asked from R80 on; one to ask takes a Vulkan driver."""
    with pytest.raises(vs.Error, match=r"^vrt: sigma must be in main memory.*use sigma\.std\.GPUDownload\(\) first"):
        check_in_memory(cast(Any, SimpleNamespace(gpu_resident=True)), "sigma")
    check_in_memory(clip, "clip")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"model": 5}, "model must be a name or the path of a weights file, got 5"),
        ({"compile": "yes"}, "compile must be True or False, got 'yes'"),
        ({"num_streams": 0}, "num_streams must be a whole number of at least 1 window, got 0"),
        ({"device": []}, "device must be a name or a list of names"),
        ({"device": ["cpu", 1]}, "got ['cpu', 1]"),
        ({"device": "gpu0"}, "device ('gpu0') is unknown"),
        ({"window": 0}, "window (0) must be a whole number of at least 1 frame"),
        ({"window": 12, "overlap": 9}, "overlap (9) must be between 0 and half of window (12)"),
        ({"tile": 30}, "tile (30) must be a multiple of 8 px"),
        ({"tile_overlap": 3}, "tile_overlap (3) must be a multiple of 8 px"),
        ({"factor": 4}, "does not interpolate"),
    ],
)
def test_options_are_told_their_rule(clip: vs.VideoNode, option: dict[str, Any], words: str) -> None:
    assert words in refusal(clip, **{"sigma": 20, "device": "cpu", **option})


@pytest.mark.parametrize("option", [{"cuts": "always"}, {"precision": "int8"}])
def test_choices_are_listed(clip: vs.VideoNode, option: dict[str, str]) -> None:
    message = refusal(clip, **option)
    assert "must be one of" in message
    assert repr(*option.values()) in message


def test_messages_of_the_core_name_our_arguments() -> None:
    error = InputError(
        "overlap_frames (5) must be at most half\n of window_frames (8); tile_px, sigma_255=2, name_or_path"
    )
    assert one_line(error) == "overlap (5) must be at most half of window (8); tile, sigma=2, model"


def test_a_model_that_is_not_there(clip: vs.VideoNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_args: object, **_options: object) -> None:
        print("a library that talks")
        raise WeightsError("weights of x are not here; run `vrt download x`")

    monkeypatch.setattr(vs_plugin.filter, "load_restorer", load)
    assert "vrt download x" in refusal(clip, model="x")


def test_a_name_that_is_no_model(clip: vs.VideoNode) -> None:
    assert "denoise-smal" in refusal(clip, model="denoise-smal")


def test_limits_of_the_core_are_told(clip: vs.VideoNode, tmp_path: Path) -> None:
    assert "tiny" in refusal(clip, model=str(tmp_path / "tiny.safetensors"))


@pytest.mark.parametrize(
    ("facts", "sigma", "words"),
    [
        ({"needs_sigma": True}, None, "sigma=20, or sigma='auto'"),
        ({"needs_sigma": True}, 51, "from 0 to 50"),
        ({"needs_sigma": True}, float("nan"), "from 0 to 50"),
        ({"needs_sigma": True}, "20", "must be a number"),
        ({"needs_sigma": True}, True, "must be a number"),
        ({}, 20, "takes no sigma"),
    ],
)
def test_model_and_sigma_must_fit(
    clip: vs.VideoNode, monkeypatch: pytest.MonkeyPatch, facts: dict, sigma: object, words: str
) -> None:
    fake = FakeRestorer(6, 2)
    vars(fake).update(facts)
    monkeypatch.setattr(vs_plugin.filter, "load_restorer", lambda *_, **__: fake)
    assert words in refusal(clip, sigma=sigma)


def test_a_window_that_fails_is_an_error_of_its_frames_only() -> None:
    source = Source(20)
    restorer = FakeRestorer(6, 2, fails_at=2)
    clip = windowed(source.clip, restorer)
    fetch(clip, range(8))
    with pytest.raises(vs.Error, match="vrt: frames 8 to 13: this one fails"):
        clip.get_frame(10)
    restorer.fails_at = -1
    fetch(clip, [10, 19])  # an error is not remembered


def test_a_closed_script_says_so() -> None:
    (lane,) = make_lanes([cast(Any, FakeRestorer(6, 2))], 1, 9)
    lane.release()
    with pytest.raises(vs.Error, match="closed"):
        lane.restore(cast(Any, None), torch.zeros(1))
