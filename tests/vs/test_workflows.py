"""The scripts in workflows/, run unchanged."""

import runpy
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import vapoursynth as vs

import vs_plugin
from tests.vs.helpers import core
from tests.vs.real import ROOT, Pipe
from vrt_core import MODELS

SCRIPTS = sorted((ROOT / "workflows").glob("*.vpy"))
WIDTH, HEIGHT, FRAMES = 40, 32, 5


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "video.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for n in range(FRAMES):
            pixels = np.random.default_rng(n).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_say_what_they_need(monkeypatch: pytest.MonkeyPatch, script: Path) -> None:
    monkeypatch.setitem(sys.modules, "vsvrt", vs_plugin)
    with pytest.raises(vs.Error, match="-a source=FILE"):
        runpy.run_path(str(script))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_model_of_a_script_is_known(script: Path) -> None:
    text = script.read_text()
    card = MODELS[text.split('args.get("model", "')[1].split('"')[0]]
    parts = [MODELS[name] for name in card.links] or [card]
    assert all(part.shipped for part in parts) != ("vrt download" in text)  # weights that do not ship are downloaded


@pytest.mark.skipif(not hasattr(core, "bs"), reason="needs vapoursynth-bestsource to read video")
@pytest.mark.parametrize(
    ("name", "tasks", "options", "scale", "factor"),
    [
        ("denoise", ["denoise"], ["sigma=20"], 1, 1),
        ("denoise_map", ["denoise"], ["dark=40", "light=10"], 1, 1),
        ("deblur", ["deblur"], ["half=0"], 1, 1),
        ("upscale", ["sr"], ["matrix=170m"], 2, 1),
        ("interpolate", ["interpolate"], ["factor=4"], 1, 4),
        ("space_time", ["sr", "interpolate"], [], 2, 2),
    ],
)
def test_scripts_run(
    pipe: Pipe,
    models: dict[str, Path],
    video: Path,
    name: str,
    tasks: list[str],
    options: list[str],
    scale: int,
    factor: int,
) -> None:
    model = "+".join(str(models[task]) for task in tasks)
    arguments = [part for option in (f"source={video}", f"model={model}", *options) for part in ("-a", option)]
    done = pipe(ROOT / "workflows" / f"{name}.vpy", "-c", "y4m", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    header, *frames = done.stdout.split(b"FRAME\n")
    width, height = scale * WIDTH, scale * HEIGHT
    assert f" W{width} H{height} F{25 * factor}:1 " in header.decode()
    assert [len(frame) for frame in frames] == [width * height * 3 // 2] * FRAMES * factor


def test_every_script_is_run() -> None:
    test: Any = test_scripts_run
    (marks,) = (mark for mark in test.pytestmark if mark.name == "parametrize")
    assert {case[0] for case in marks.args[1]} == {script.stem for script in SCRIPTS}
