"""Progress of the nodes: from the first block of the network to the end, and of each thing that a node does."""

import re
from fractions import Fraction
from typing import Any

import pytest
import torch
from comfy_api.latest import InputImpl, Types

from tests.helpers.video_files import make_video
from tests.nodes.fake import FakeComfyUI
from tests.nodes.videos import from_file, restore
from vrt_core.network.ops import chunking
from vrt_nodes import run_progress
from vrt_nodes.compare_node import CompareVideo
from vrt_nodes.image_nodes import Restore
from vrt_nodes.load_node import LoadModel

WIDGETS = {"sigma_255": -1.0, "window_frames": -1, "overlap_frames": -1, "tile_px": -1, "tile_overlap_px": -1}
H264 = {"codec": "libx264", "size": (32, 48)}


@pytest.fixture(autouse=True)
def _every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no update wait for its time, so that the tests do not depend on it."""
    monkeypatch.setattr(run_progress, "UPDATE_SECONDS", 0)


def run_images(comfy: FakeComfyUI, frames: int = 4) -> None:
    Restore.execute(comfy.load("deblur"), torch.rand(frames, 16, 24, 3), cuts="off", **WIDGETS)


def run_video(comfy: FakeComfyUI, frames: int = 4) -> None:
    restore(comfy.load("deblur"), from_file(make_video(comfy.base / "in.mp4", num_frames=frames, **H264)))


@pytest.mark.parametrize("run", [run_images, run_video])
def test_text_and_bar_move_from_the_first_block(comfy: FakeComfyUI, run: Any) -> None:
    run(comfy)  # one window: the first pass is the only one
    values = [value / total for value, total, _ in comfy.bar]
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] == 1
    assert len({value for value in values if 0 < value < 1}) == 18, "three flows, eight blocks, seven warpings"
    assert comfy.texts[0] == "0/4 frames, pass 1/1 (0%)"
    assert "0/4 frames, pass 1/1 (53%)" in comfy.texts
    assert re.fullmatch(r"4/4 frames, [\d.]+ fps", comfy.texts[-1])


def test_the_bar_moves_through_the_filters(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "budget_bytes", lambda device: 1 << 20)
    model = LoadModel.execute("denoise-fast", "fp32")[0]
    Restore.execute(model, torch.rand(4, 40, 48, 3), cuts="off", **WIDGETS)
    values = [value / total for value, total, _ in comfy.bar]
    assert values == sorted(values)
    network = model.parts[0][1].model
    size = 4, 40, 48, torch.device("cpu")
    num_chunks = network.prior.num_chunks(*size), network.group_filter.num_chunks(*size)
    assert min(num_chunks) > 4
    assert len({value for value in values if 0 < value < 1}) == sum(num_chunks)


def test_passes_of_a_video_are_known_before_they_are_run(comfy: FakeComfyUI) -> None:
    run_video(comfy, 12)  # windows of 4 frames, 2 of them shared
    assert "pass 1/5" in comfy.texts[0]
    assert all(value <= total for value, total, _ in comfy.bar)


def test_updates_are_few(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU takes milliseconds for a block."""
    monkeypatch.setattr(run_progress, "UPDATE_SECONDS", 1e9)
    monkeypatch.setattr(run_progress, "PREVIEW_SECONDS", 1e9)
    run_images(comfy, 12)
    assert len(comfy.texts) == 1 + 5 + 1 + 1, "the start, five passes, one preview, the end"


def test_each_copy_of_a_comparison_is_counted_for_itself(comfy: FakeComfyUI) -> None:
    before, after = (
        InputImpl.VideoFromComponents(Types.VideoComponents(torch.rand(n, 16, 16, 3), Fraction(10))) for n in (3, 5)
    )
    CompareVideo.execute(before, after)
    assert comfy.texts[0] == "copying before: 0/3 frames"
    ends = [text.partition(",")[0] for text in comfy.texts if re.search(r"(3/3|5/5)", text)]
    assert list(dict.fromkeys(ends)) == ["copying before: 3/3 frames", "copying after: 5/5 frames"]
    assert comfy.texts[-1].startswith("copying after: 5/5 frames")
    assert comfy.bar[-1][:2] == (5, 5)
    assert not any(preview for _, _, preview in comfy.bar), "it would stay on the node, beside the videos"


def test_the_log_has_one_figure_of_memory(comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("vrt_core", "vrt_nodes"):
        caplog.set_level("INFO", logger=name)
    run_images(comfy)
    assert len(re.findall(r"\d MiB", " ".join(record.message for record in caplog.records))) == 2, "needed, available"
