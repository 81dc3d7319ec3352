"""Example clips in ComfyUI's input folder."""

import shutil

import av
import pytest

from tests.nodes.fake import FakeComfyUI
from vrt_media.part_file import PartFile
from vrt_nodes.example_clips import CLIPS, copy_example_clips
from vrt_nodes.extension import VRTExtension

NAME = "vrt_bird.mp4"


def test_clips_are_there_once_comfyui_has_started(comfy: FakeComfyUI) -> None:
    VRTExtension()
    assert [path.name for path in comfy.files("input")] == [NAME]
    with av.open(str(comfy.base / "input" / NAME)) as container:
        assert len(list(container.decode(video=0))) == 16
        assert container.streams.audio


def test_a_file_of_the_users_is_kept(comfy: FakeComfyUI) -> None:
    mine = comfy.base / "input" / NAME
    mine.write_bytes(b"mine")
    copy_example_clips()
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("fault", ["no folder", "full"])
def test_comfyui_starts_without_them(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    if fault == "no folder":
        shutil.rmtree(comfy.base / "input")
    else:

        def write(part: PartFile, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PartFile, "write", write)
    VRTExtension()
    assert comfy.files("input") == []


def test_clips_say_whose_they_are() -> None:
    text = (CLIPS / "README.md").read_text()
    assert all(path.name in text for path in CLIPS.glob("*.mp4"))
    assert "creativecommons.org/licenses/by/3.0" in text
