"""Results of the compare nodes for the slider: entries of files that a browser can show."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from PIL import Image

from tests.helpers.video_files import make_video, read_stamps
from tests.nodes.fake import FakeComfyUI
from vrt_core import InputError
from vrt_nodes.compare_node import MAX_IMAGES, Compare, CompareVideo

H264 = {"codec": "libx264", "size": (32, 48)}


def paths(comfy: FakeComfyUI, ui: dict[str, Any], key: str) -> list[Path]:
    return [comfy.base / entry["type"] / entry["subfolder"] / entry["filename"] for entry in ui[key]]


def grey(levels: list[int], height: int = 8, width: int = 8) -> torch.Tensor:
    """Return images of one grey level each, (T, H, W, 3)."""
    return torch.stack([torch.full((height, width, 3), level / 255) for level in levels])


def levels(paths: list[Path]) -> list[int]:
    return [int(np.asarray(Image.open(path))[0, 0, 0]) for path in paths]


def test_images_are_saved_in_pairs(comfy: FakeComfyUI) -> None:
    ui = Compare.execute(grey([10, 20, 30]), grey([11, 21, 31], 32, 32)).ui
    assert levels(paths(comfy, ui, "vrt_before")) == [10, 20, 30]
    assert levels(paths(comfy, ui, "vrt_after")) == [11, 21, 31]
    assert Image.open(paths(comfy, ui, "vrt_after")[0]).size == (32, 32)


def test_more_frames_after_are_shown_with_those_of_the_same_time(comfy: FakeComfyUI) -> None:
    ui = Compare.execute(grey([10, 20]), grey([10, 15, 20, 20])).ui
    assert levels(paths(comfy, ui, "vrt_before")) == [10, 10, 20, 20]
    assert levels(paths(comfy, ui, "vrt_after")) == [10, 15, 20, 20]


def test_of_long_batches_a_few_are_saved(comfy: FakeComfyUI) -> None:
    ui = Compare.execute(grey(list(range(100))), grey(list(range(100)))).ui
    assert levels(paths(comfy, ui, "vrt_after")) == [100 * i // MAX_IMAGES for i in range(MAX_IMAGES)]
    assert len(comfy.files()) == 2 * MAX_IMAGES


def test_rgba_and_values_beyond_the_range_are_shown(comfy: FakeComfyUI) -> None:
    ui = Compare.execute(torch.full((1, 4, 4, 4), 2.0), torch.full((1, 4, 4, 3), -1.0)).ui
    assert levels(paths(comfy, ui, "vrt_before")) == [255]
    assert levels(paths(comfy, ui, "vrt_after")) == [0]


def test_other_shapes_are_refused_by_name(comfy: FakeComfyUI) -> None:
    with pytest.raises(InputError, match=r"before has shape \(0, 8, 8, 3\), expected at least one frame"):
        Compare.execute(torch.zeros(0, 8, 8, 3), grey([1]))
    with pytest.raises(InputError, match="after has 1 colour channels"):
        Compare.execute(grey([1]), torch.zeros(1, 8, 8, 1))


@pytest.mark.parametrize("folder", ["input", "output", "temp"])
def test_videos_that_play_are_shown_where_they_are(comfy: FakeComfyUI, folder: str) -> None:
    source = make_video(comfy.base / folder / "a.mp4", num_frames=2, **H264)
    video = InputImpl.VideoFromFile(str(source))
    ui = CompareVideo.execute(video, video).ui
    assert paths(comfy, ui, "vrt_before") == paths(comfy, ui, "vrt_after") == [source]


def test_other_videos_are_copied_into_what_plays(comfy: FakeComfyUI, tmp_path: Path) -> None:
    outside = make_video(tmp_path / "outside.mp4", num_frames=2, **H264)
    lossless = make_video(comfy.base / "input/a.mkv", num_frames=2, size=(32, 48))
    trimmed = make_video(comfy.base / "input/b.mp4", num_frames=10, audio=True, **H264)
    memory = Types.VideoComponents(torch.rand(2, 32, 48, 3), Fraction(25))
    videos = {
        "outside": InputImpl.VideoFromFile(str(outside)),
        "lossless": InputImpl.VideoFromFile(str(lossless)),
        "bytes": InputImpl.VideoFromFile(io.BytesIO(outside.read_bytes())),
        "memory": InputImpl.VideoFromComponents(memory),
        "trimmed": InputImpl.VideoFromFile(str(trimmed), start_time=0.2, duration=0.12),
    }
    for name, video in videos.items():
        ui = CompareVideo.execute(video, InputImpl.VideoFromFile(str(trimmed))).ui
        (copy,) = paths(comfy, ui, "vrt_before")
        assert copy.parent == comfy.base / "temp/vrt", name
        assert read_stamps(copy) == [Fraction(n, 25) for n in range(3 if name == "trimmed" else 2)], name
        with av.open(str(copy)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.format.name) == ("h264", "yuv420p")


def test_a_playlist_is_not_played(comfy: FakeComfyUI) -> None:
    """It has a suffix that browsers play, and lies where they may fetch it from."""
    make_video(comfy.base / "private.mp4", num_frames=3, **H264)
    playlist = comfy.base / "input/list.mp4"
    playlist.write_text("ffconcat version 1.0\nfile ../private.mp4\n")
    video = InputImpl.VideoFromFile(str(playlist))
    with pytest.raises(InputError, match="it is in a format that is not read here"):
        CompareVideo.execute(video, video)


def test_videos_of_any_rate_are_shown(comfy: FakeComfyUI) -> None:
    images = torch.rand(3, 16, 16, 3)
    videos = [InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(fps))) for fps in (59.94, 7.3)]
    ui = CompareVideo.execute(*videos).ui
    assert read_stamps(paths(comfy, ui, "vrt_before")[0])[1] == Fraction(1001, 60000)
    assert read_stamps(paths(comfy, ui, "vrt_after")[0])[1] == Fraction(10, 73)
