"""Error messages: one line, with the name of the argument and what to do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import vapoursynth as vs

import vs_plugin.filter
from tests.vs.helpers import Passes, Source, core, fake, fetch, filtered
from vrt_core import InputError, WeightsError
from vs_plugin import restore
from vs_plugin.arguments import check_in_memory
from vs_plugin.errors import one_line
from vs_plugin.workers import make_workers


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
def test_errors_about_formats_say_how_to_convert(vs_format: int, advice: str) -> None:
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
    """VapourSynth R80 and later have such clips; a real one needs a Vulkan driver."""
    with pytest.raises(vs.Error, match=r"^vrt: sigma must be in main memory.*use sigma\.std\.GPUDownload\(\) first"):
        check_in_memory(cast(vs.VideoNode, SimpleNamespace(gpu_resident=True)), "sigma")
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
def test_errors_about_options_state_the_rule(clip: vs.VideoNode, option: dict[str, Any], words: str) -> None:
    assert words in refusal(clip, **{"sigma": 20, "device": "cpu", **option})


@pytest.mark.parametrize("option", [{"cuts": "always"}, {"precision": "int8"}])
def test_choices_are_listed(clip: vs.VideoNode, option: dict[str, str]) -> None:
    message = refusal(clip, **option)
    assert "must be one of" in message
    assert repr(*option.values()) in message


def test_messages_of_the_core_name_the_arguments_of_the_filter() -> None:
    error = InputError(
        "overlap_frames (5) must be at most half\n of window_frames (8); tile_px, sigma_255=2, name_or_path"
    )
    assert one_line(error) == "overlap (5) must be at most half of window (8); tile, sigma=2, model"


def test_missing_weights(clip: vs.VideoNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_args: object, **_options: object) -> None:
        print("a library that prints")
        raise WeightsError("weights of x are missing; run `vrt download x`")

    monkeypatch.setattr(vs_plugin.filter, "load_restorer", load)
    assert "vrt download x" in refusal(clip, model="x")


def test_a_name_that_is_no_model(clip: vs.VideoNode) -> None:
    message = refusal(clip, model="denoise-smell", sigma=20)
    assert message.startswith("vrt: model ('denoise-smell') is unknown; ")
    assert "denoise-small" in message  # the nearest name


def test_a_weights_file_that_does_not_exist(clip: vs.VideoNode, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    assert refusal(clip, model=str(path)).startswith(f"vrt: cannot read weights {path}: ")


def test_a_weights_file_that_is_damaged(clip: vs.VideoNode, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(b"no weights")
    assert f"{path} is neither safetensors nor a PyTorch checkpoint (10 bytes)" in refusal(clip, model=str(path))


@pytest.mark.parametrize(
    ("needs_sigma", "sigma", "words"),
    [
        (True, None, "sigma=20, or sigma='auto'"),
        (True, 51, "from 0 to 50"),
        (True, float("nan"), "from 0 to 50"),
        (True, "20", "must be a number"),
        (True, True, "must be a number"),
        (False, 20, "takes no sigma"),
    ],
)
def test_model_and_sigma_must_fit(
    clip: vs.VideoNode, monkeypatch: pytest.MonkeyPatch, needs_sigma: bool, sigma: object, words: str
) -> None:
    monkeypatch.setattr(vs_plugin.filter, "load_restorer", lambda *_, **__: fake(6, 2, sigma=needs_sigma))
    assert words in refusal(clip, sigma=sigma)


def test_a_window_that_fails_is_an_error_of_its_frames_only() -> None:
    source, restorer = Source(20), fake(6, 2)

    def fail(inputs: torch.Tensor) -> None:
        if source.number_of(inputs[0, 0, 0, 0, 0].item()) == 8:
            raise InputError("this one\nfails")

    Passes(restorer, before=fail)
    clip = filtered(source.clip, restorer)
    fetch(clip, range(8))
    with pytest.raises(vs.Error, match="vrt: frames 8 to 13: this one fails"):
        clip.get_frame(10)
    Passes(restorer)
    fetch(clip, [10, 19])  # the window is restored again


def test_a_clip_of_a_closed_script() -> None:
    restorer = fake(6, 2)
    (worker,) = make_workers([restorer], 1, 9)
    worker.release()
    with pytest.raises(vs.Error, match="closed"):
        worker.restore(restorer.plan(20, 4, 6)[0], torch.zeros(6, 3, 4, 6))


def test_wrong_strengths(clip: vs.VideoNode) -> None:
    assert "strength (1.5) must be a number from 0 to 1" in refusal(clip, strength=1.5)
    assert "chroma_strength ('low') must be a number" in refusal(clip, chroma_strength=cast(Any, "low"))
    assert "interpolate-small interpolates" in refusal(clip, model="interpolate-small", strength=0.5)
