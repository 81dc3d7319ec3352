"""Depth and colour of the files of VRT Restore Video, on hosts that can tell them and older ones; what is left out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types

from tests.helpers.video_files import make_video, picture, psnr, read_planes
from tests.nodes.fake import FakeComfyUI
from tests.nodes.videos import from_file, restore
from vrt_media.colour import BT2020, HLG, PQ
from vrt_media.mastering import Mastering, mastering_of

TEN_BITS: Any = {"num_frames": 3, "pix_fmt": "yuv420p10le"}
MASTERING = Mastering(light_level=(1000, 400))


@pytest.fixture
def newer_host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that gives videos the methods of ComfyUI 0.33, which tell depth and colour space."""

    def install(depth: int = 8, space: str = "sRGB") -> None:
        for kind in (InputImpl.VideoFromFile, InputImpl.VideoFromComponents):
            monkeypatch.setattr(kind, "get_bit_depth", lambda _: depth, raising=False)
            monkeypatch.setattr(kind, "get_color_space", lambda _: space, raising=False)

    return install


def facts_of(path: Path) -> tuple[str, list[int]]:
    """Return the pixel format, and matrix, range, primaries and transfer."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    return frame.format.name, [frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc]


def test_ten_bits_stay_ten_bits(comfy: FakeComfyUI, newer_host: Callable[..., None]) -> None:
    newer_host()
    source = make_video(comfy.base / "in.mkv", **TEN_BITS)
    restored = restore(comfy.load_quick("deblur"), from_file(source), crf=1.0)
    assert facts_of(restored) == ("yuv420p10le", [1, 1, 1, 1])
    assert "bits" not in comfy.texts[-1]
    scores = [psnr(a, b, 1023) for a, b in zip(read_planes(source), read_planes(restored), strict=True)]
    assert min(scores) > 54, scores  # 8 bits would end at 52 or so


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_keeps_its_tags_and_codes(comfy: FakeComfyUI, newer_host: Callable[..., None], transfer: int) -> None:
    newer_host()
    options = MASTERING.add_to("libx265", {"x265-params": "log-level=none:hdr10=1"})
    tags = (BT2020, 1, BT2020, transfer)
    source = make_video(comfy.base / "in.mkv", codec="libx265", tags=tags, options=options, **TEN_BITS)
    restored = restore(comfy.load_quick("deblur"), from_file(source), crf=1.0)
    assert facts_of(restored) == ("yuv420p10le", list(tags))
    assert "HDR" not in comfy.texts[-1]
    with av.open(str(restored)) as container:
        assert mastering_of(next(container.decode(video=0))) == MASTERING
    scores = [psnr(a, b, 1023) for a, b in zip(read_planes(source), read_planes(restored), strict=True)]
    assert min(scores) > 54, scores


def test_older_hosts_get_eight_bits_and_bt709(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mkv", tags=(BT2020, 1, BT2020, PQ), **TEN_BITS)
    restored = restore(comfy.load_quick("deblur"), from_file(source))
    assert facts_of(restored) == ("yuv420p", [1, 1, 1, 1])
    assert "the video is HDR: it is worked on as it is and tagged BT.709" in comfy.texts[-1]


@pytest.mark.parametrize(
    ("depth", "space", "expected"),
    [
        (8, "sRGB", ("yuv420p", [1, 1, 1, 1])),
        (10, "auto", ("yuv420p10le", [1, 1, 1, 1])),
        (8, "HDR", ("yuv420p10le", [BT2020, 1, BT2020, HLG])),
        (10, "HDR PQ", ("yuv420p10le", [BT2020, 1, BT2020, PQ])),
    ],
)
def test_videos_in_memory_have_the_depth_that_the_host_tells(
    comfy: FakeComfyUI, newer_host: Callable[..., None], depth: int, space: str, expected: Any
) -> None:
    newer_host(depth, space)
    images = torch.stack([torch.from_numpy(picture(n, 32, 48)).float() / 255 for n in range(3)])
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(10)))
    restored = restore(comfy.load_quick("deblur"), video, crf=1.0)
    assert facts_of(restored) == expected
    matrix = expected[1][0]
    with av.open(str(restored)) as container:
        frames = [f.reformat(format="rgb24", src_colorspace=matrix).to_ndarray() for f in container.decode(video=0)]
    assert np.abs(np.stack(frames) - 255 * images.numpy()).mean() < 4  # chroma is halved


def test_trims_that_the_host_keeps_to_itself_are_honoured(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions between Trim Video and `get_active_trim_window`."""
    source = make_video(comfy.base / "in.mp4", codec="libx264", num_frames=20, size=(32, 48))
    video, model = from_file(source), comfy.load_quick("deblur")
    monkeypatch.delattr(InputImpl.VideoFromFile, "get_active_trim_window")
    assert len(read_planes(restore(model, video))) == 20, "0.3.64 has no trims"
    video._VideoFromFile__start_time, video._VideoFromFile__duration = 0.2, 0.4
    assert len(read_planes(restore(model, video))) == 10
    video._VideoFromFile__start_time, video._VideoFromFile__duration = -0.32, 0
    video._get_raw_duration = lambda: 0.8
    assert len(read_planes(restore(model, video))) == 8


def test_what_is_left_out_is_on_the_node(comfy: FakeComfyUI) -> None:
    video, path = make_video(comfy.base / "v.mkv", num_frames=3, size=(32, 48)), comfy.base / "in.mkv"
    words = comfy.base / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:00,100\nFirst\n\n")
    with av.open(str(video)) as a, av.open(str(words)) as b, av.open(str(path), "w") as target:
        copies = [target.add_stream_from_template(f.streams[0], opaque=True) for f in (a, b)]
        target.add_attachment("a font.ttf", "font/ttf", b"glyphs")
        chapter: Any = {"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {}}
        target.set_chapters([chapter])
        for source, copy in zip((a, b), copies, strict=True):
            for packet in source.demux():
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
    restore(comfy.load_quick("deblur"), from_file(path))
    for part in ("subtitle stream 1", "attachment 2 (a font.ttf)", "1 chapter"):
        assert f"left out: {part}" in comfy.texts[-1]
