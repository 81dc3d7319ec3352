"""Messages of the nodes about wrong inputs on a real ComfyUI, without a traceback in the log."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import pytest

from tests.nodes.comfy_server import Prompt, PromptError, Server
from tests.nodes.media import write_video
from tests.nodes.prompts import TILES, load_model, node, restore_images, restore_video


def interpolate(frames: int) -> Prompt:
    prompt = restore_images(frames=frames)
    prompt["1"] = load_model("interpolate-small")
    prompt["4"] = node("VRTInterpolate", model=["1", 0], images=["3", 0], factor="2", **TILES)
    return prompt


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (restore_images(model="001_VRT_videosr_bi_REDS_6frames"), "not here yet.*CC-BY-NC.*curl.*models/vrt"),
        (restore_images(model="gone.safetensors"), "gone.safetensors.*models/vrt"),
        (restore_images(sigma_255=60.0), "bigger than max of 50"),
        (restore_images(model="sr-small"), "sigma_255 .20. was given, but .* takes no noise level"),
        (restore_images(model="interpolate-small", sigma_255=-1.0), "use VRT Interpolate"),
        (restore_images(tile_px=60), "tile_px .60.*multiple of 8"),
        (interpolate(1), "1 frame.*2 or more"),
        (restore_video(factor="4"), "factor .4. was given.*does not interpolate"),
        (restore_video(factor="3"), "factor.*3"),
        (restore_images(cuts="12,20"), "cuts.*12,20"),
        (restore_video(crf=float("nan")), "crf"),
        (restore_images(model=None), "model_name"),
        (restore_images(sigma_255=None), "sigma_255"),
    ],
    ids=[
        *("missing", "gone", "range", "no-sigma", "other-task", "tile", "one-frame", "factor"),
        *("factor-3", "cuts", "crf", "no-name", "no-number"),
    ],
)
def test_says_what_is_wrong(server: Server, prompt: Prompt, words: str) -> None:
    with pytest.raises(PromptError, match=rf"(?s){words}"):
        server.run(prompt)


@pytest.mark.parametrize(
    ("image", "frames"), [("rgba.png", 2), ("odd.png", 2), ("example.png", 1)], ids=["rgba", "odd", "one-frame"]
)
def test_takes_what_can_be_worked_on(server: Server, image: str, frames: int) -> None:
    assert len(server.run(restore_images(image, frames=frames)).outputs["5"]["images"]) == frames


@pytest.fixture
def kinds_of_video(server: Server) -> dict[str, dict[str, Any]]:
    """Nodes that output a VIDEO: of tensors, of a trimmed file; and files of odd size and without sound."""
    write_video(server.base / "input/odd.mp4", 2, height=45, width=51)
    write_video(server.base / "input/silent.mp4", 2, sound=False)
    (server.base / "input/broken.mp4").write_bytes(b"not a video at all")
    return {
        "tensors": {"7": node("GetVideoComponents", video=["2", 0]),
                    "8": node("CreateVideo", images=["7", 0], audio=["7", 1], fps=["7", 2])},
        "trimmed": {"8": node("Video Slice", video=["2", 0], start_time=0.1, duration=0.2, strict_duration=False)},
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "frames"), [("tensors", 5), ("trimmed", 2)])
def test_takes_videos_of_every_kind(
    server: Server, kinds_of_video: dict[str, dict[str, Any]], kind: str, frames: int
) -> None:
    if kind == "trimmed" and "Video Slice" not in server.get("/object_info"):
        pytest.skip("this ComfyUI has no node that trims")
    prompt = {**restore_video(), **kinds_of_video[kind]}
    prompt["3"]["inputs"]["video"] = ["8", 0]
    prompt["9"] = node("GetVideoComponents", video=["3", 0])
    prompt["10"] = node("SaveImage", images=["9", 0], filename_prefix="frames")
    assert len(server.run(prompt).outputs["10"]["images"]) == frames


def test_takes_the_rates_of_create_video(server: Server) -> None:
    prompt = restore_video()
    del prompt["2"]
    prompt["6"] = node("LoadImage", image="small.png")
    prompt["7"] = node("RepeatImageBatch", image=["6", 0], amount=3)
    prompt["8"] = node("CreateVideo", images=["7", 0], fps=23.976)
    prompt["3"]["inputs"]["video"] = ["8", 0]
    prompt["9"] = node("VRTCompareVideo", before=["8", 0], after=["3", 0])
    outputs = server.run(prompt).outputs
    for entry in (*outputs["9"]["vrt_before"], *outputs["9"]["vrt_after"]):
        with av.open(str(server.path_of(entry))) as container:
            assert container.streams.video[0].average_rate == Fraction(24000, 1001)


@pytest.mark.parametrize("file", ["odd.mp4", "silent.mp4"])
@pytest.mark.usefixtures("kinds_of_video")
def test_takes_odd_sizes_and_silence(server: Server, file: str) -> None:
    assert server.run(restore_video(file)).outputs["4"]["images"]


@pytest.mark.usefixtures("kinds_of_video")
def test_says_that_a_file_is_no_video(server: Server) -> None:
    with pytest.raises(PromptError, match="video cannot be read"):
        server.run(restore_video("broken.mp4"))
