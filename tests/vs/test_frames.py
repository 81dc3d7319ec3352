"""What a frame carries through the filter: pixels, properties, time."""

import numpy as np
import pytest
import vapoursynth as vs

from tests.vs.fake import FakeRestorer, Source, core, fetch, windowed
from vs_plugin.frames import read_frames, write_frame


class Same(FakeRestorer):
    """Returns what it is given."""

    def restore_window(self, window, frames, **options):
        shares = super().restore_window(window, frames, **options)
        return [type(share)(share.index, share.weight, frames[share.index - window.start]) for share in shares]


@pytest.mark.parametrize("vs_format", [vs.RGBS, vs.RGBH])
@pytest.mark.parametrize(("width", "height"), [(65, 33), (1, 1), (1918, 1078)])
def test_pixels_survive_the_way_through(vs_format: int, width: int, height: int) -> None:
    source = Source(5, width=width, height=height, vs_format=vs_format)
    got = fetch(windowed(source.clip, Same(4, 0)))
    assert all(np.array_equal(got[n], source.pixels[n]) for n in range(5))


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
    expected = FakeRestorer(6, 2).restore(source.frames).numpy().astype(np.float16)
    got = fetch(windowed(source.clip, FakeRestorer(6, 2)))
    assert all(np.array_equal(got[n], expected[n]) for n in range(10))  # those of the cross-fade too


@pytest.mark.parametrize("scale", [1, 4])
def test_properties_and_time_are_kept(scale: int) -> None:
    tags = {"_Matrix": 0, "_Transfer": 1, "_Range": 1, "_SARNum": 4, "_SARDen": 3, "_PictType": "P"}
    source = Source(10)
    alpha = core.std.BlankClip(None, 6, 4, vs.GRAYS, 10)
    clip = core.std.SetFrameProps(source.clip, **tags).std.ClipToProp(alpha, "_Alpha")
    restored = windowed(clip, FakeRestorer(6, 2, scale=scale))
    assert (restored.width, restored.height) == (clip.width * scale, clip.height * scale)
    assert (restored.num_frames, restored.fps) == (clip.num_frames, clip.fps)
    assert restored.format.id == clip.format.id
    for before, after in zip(clip.frames(), restored.frames(), strict=True):
        expected = {key: value for key, value in before.props.items() if key != "_Alpha"}
        found = dict(after.props)
        assert ("_Alpha" in found) == (scale == 1)
        found.pop("_Alpha", None)
        assert found == expected
        assert (found["_DurationNum"], found["_DurationDen"]) == (1001, 24000)
