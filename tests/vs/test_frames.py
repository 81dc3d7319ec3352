"""Pixels, properties and time of frames on their way through the filter."""

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.helpers.fake_restorers import FakeNetwork, fake_card
from tests.vs.helpers import Source, core, differing, expected_frames, fake, fetch, filtered
from vrt_core import RestoreOptions, Restorer, make_restorer
from vs_plugin.frames import read_frames, write_frame

pytestmark = pytest.mark.usefixtures("one_thread")


class Identity(FakeNetwork):
    """Returns its input."""

    def forward(self, clip: torch.Tensor, flows: object = None, **_: object) -> torch.Tensor:
        return clip


def identity() -> Restorer:
    network: Any = Identity()
    return make_restorer([(network, fake_card(network, overlap=0))], RestoreOptions(tile_px=0))


@pytest.mark.parametrize("vs_format", [vs.RGBS, vs.RGBH])
@pytest.mark.parametrize(("width", "height"), [(65, 33), (1, 1), (318, 178)])
def test_pixels_survive_the_way_through(vs_format: int, width: int, height: int) -> None:
    source = Source(5, width=width, height=height, vs_format=vs_format)
    frames = fetch(filtered(source.clip, identity()))
    assert len(frames) == 5
    assert differing(frames, source.pixels) == []


@pytest.mark.parametrize("vs_format", [vs.RGBS, vs.RGBH])
def test_conversion_keeps_planes_apart(vs_format: int) -> None:
    source = Source(2, width=7, height=3, vs_format=vs_format)
    frames = [source.clip.get_frame(n) for n in range(2)]
    rgb = read_frames(frames)
    assert np.array_equal(rgb.numpy(), source.pixels.astype(np.float32))
    back = write_frame(rgb[1], frames[1].format, {"Number": 7})
    assert np.array_equal(np.asarray(back[2]), source.pixels[1, 2])
    assert dict(back.props) == {"Number": 7}


def test_half_frames_are_rounded_once() -> None:
    source = Source(10, vs_format=vs.RGBH)
    restorer = fake(6, 2)
    frames = fetch(filtered(source.clip, restorer))
    assert len(frames) == 10
    assert differing(frames, expected_frames(restorer, source).astype(np.float16)) == []  # cross-faded frames too


@pytest.mark.parametrize("scale", [1, 4])
def test_properties_and_time_are_kept(scale: int) -> None:
    tags = {"_Matrix": 0, "_Transfer": 1, "_Range": 1, "_SARNum": 4, "_SARDen": 3, "_PictType": "P"}
    source = Source(10)
    alpha = core.std.BlankClip(None, 6, 4, vs.GRAYS, 10)
    clip = core.std.SetFrameProps(source.clip, **tags).std.ClipToProp(alpha, "_Alpha")
    restored = filtered(clip, fake(6, 2, scale=scale))
    assert (restored.width, restored.height) == (clip.width * scale, clip.height * scale)
    assert (restored.num_frames, restored.fps) == (clip.num_frames, clip.fps)
    assert restored.format.id == clip.format.id
    for before, after in zip(clip.frames(), restored.frames(), strict=True):
        expected = {key: value for key, value in before.props.items() if key != "_Alpha"}
        props = dict(after.props)
        assert ("_Alpha" in props) == (scale == 1)
        props.pop("_Alpha", None)
        assert props == expected
        assert (props["_DurationNum"], props["_DurationDen"]) == (1001, 24000)
