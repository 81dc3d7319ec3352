"""VRT Restore Video: equality with the command line, trims, rotation, sound, colour, cancelling, memory."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import comfy.model_management as mm
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from typer.testing import CliRunner

from tests.helpers.live_bytes import LiveBytes
from tests.helpers.video_files import make_video, picture, read_packets, read_planes, read_stamps
from tests.nodes.fake import FakeComfyUI
from tests.nodes.videos import from_file, restore, sound_of
from vrt_cli.main import app
from vrt_core import InputError
from vrt_media.writer import VideoWriter

H264 = {"codec": "libx264", "options": {"crf": "1"}, "size": (32, 48)}


def brightness(path: Path) -> list[float]:
    return [float(planes[0].mean()) for planes in read_planes(path)]


def same_planes(a: Path, b: Path) -> bool:
    return all(
        np.array_equal(x, y)
        for one, other in zip(read_planes(a), read_planes(b), strict=True)
        for x, y in zip(one, other, strict=True)
    )


# --- frames ---


@pytest.mark.parametrize(("task", "option"), [("deblur", []), ("denoise", ["--sigma", "20"]), ("interpolate", [])])
def test_gives_the_frames_of_the_command_line(comfy: FakeComfyUI, task: str, option: list[str]) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=5, audio=True, **H264)
    expected = comfy.base / "expected.mp4"
    command = ["restore", str(source), "-o", str(expected), "-m", str(comfy.path(task)), "--cuts", "off", "-q"]
    result = CliRunner().invoke(app, [*command, "--precision", "fp32", *option])
    assert result.exit_code == 0, result.output
    restored = restore(comfy.load(task), from_file(source), sigma_255=20.0 if option else -1.0)
    assert same_planes(restored, expected)
    assert read_stamps(restored) == read_stamps(expected)
    assert read_packets(restored) == read_packets(expected)


def test_strength_is_that_of_the_command_line(comfy: FakeComfyUI) -> None:
    """In luma and chroma of the file's matrix, which is not the default one."""
    source = make_video(comfy.base / "input/in.mp4", num_frames=5, tags=(6, 1, 1, 1), **H264)
    command = ["restore", str(source), "-m", str(comfy.path("deblur")), "--cuts", "off", "-q", "--precision", "fp32"]
    command += ["--codec", "ffv1", "--pix-fmt", "gbrp16le", "-o"]
    node = restore(comfy.load("deblur"), from_file(source), strength=0.9, chroma_strength=0.0, crf=0.0)
    errors = {}
    for strength in ("0.9:0", "0.9", "0:0.9"):
        expected = comfy.base / "expected.mkv"
        result = CliRunner().invoke(app, [*command, str(expected), "-y", "--strength", strength])
        assert result.exit_code == 0, result.output
        with av.open(str(node)) as a, av.open(str(expected)) as b:
            pairs = zip(a.decode(video=0), b.decode(video=0), strict=True)
            frames = [[f.to_ndarray(format="rgb24").astype(int) for f in pair] for pair in pairs]
        errors[strength] = np.mean([np.abs(x - y).mean() for x, y in frames])
    assert errors["0.9:0"] < 0.5 * min(errors["0.9"], errors["0:0.9"]), errors


@pytest.mark.parametrize("widgets", [{"strength": 0.5}, {"chroma_strength": 0.0}])
def test_interpolation_has_no_strength(comfy: FakeComfyUI, widgets: dict[str, float]) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=3, **H264)
    with pytest.raises(InputError, match=r"strength or chroma_strength was given, but model .* interpolates"):
        restore(comfy.load_quick("interpolate"), from_file(source), **widgets)
    restore(comfy.load_quick("interpolate"), from_file(source), strength=1.0, chroma_strength=-1.0)


def test_lies_in_the_temporary_folder(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=3, **H264)
    first, second = (restore(comfy.load_quick("deblur"), from_file(source)) for _ in range(2))
    assert comfy.files() == [first, second]


def test_interpolation_keeps_the_length(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "input/in.mp4", num_frames=4, **H264)
    restored = restore(comfy.load_quick("interpolate"), from_file(source), factor="4")
    assert read_stamps(restored) == [Fraction(n, 100) for n in range(16)]


def test_colour_is_bt709_and_tagged(comfy: FakeComfyUI) -> None:
    """A source in BT.601 is converted."""
    source = make_video(comfy.base / "input/in.mp4", num_frames=2, tags=(5, 1, 5, 6), **H264)
    with av.open(str(source)) as container:
        expected = next(container.decode(video=0)).to_ndarray(format="rgb24")
    restored = restore(comfy.load_quick("deblur"), from_file(source), crf=1.0)
    with av.open(str(restored)) as container:
        context = container.streams.video[0].codec_context
        tags = context.colorspace, context.color_range, context.color_primaries, context.color_trc
        frame = next(container.decode(video=0))
        rgb = frame.to_ndarray(format="rgb24")
    assert [int(tag) for tag in tags] == [1, 1, 1, 1]
    assert np.abs(rgb.astype(int) - expected).mean() < 2.5  # 4 if the matrix is not that of the tag


def test_odd_sizes_are_kept(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mkv", num_frames=2, size=(33, 47), pix_fmt="yuv444p")
    restored = restore(comfy.load_quick("deblur"), from_file(source))
    with av.open(str(restored)) as container:
        frame = next(container.decode(video=0))
    assert (frame.height, frame.width, frame.format.name) == (33, 47, "yuv444p")


def test_a_rotated_clip_comes_out_upright(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=2, rotation=90, **H264)
    with av.open(str(source)) as container:
        frame = next(container.decode(video=0))
        expected = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    restored = restore(comfy.load_quick("deblur"), from_file(source), crf=1.0)
    with av.open(str(restored)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        assert (
            np.abs(frame.to_ndarray(format="rgb24").astype(int) - expected).mean() < 5
        )  # chroma is halved along other axes


def test_bytes_in_memory_are_streamed(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=3, **H264)
    model = comfy.load_quick("deblur")
    assert same_planes(restore(model, from_file(io.BytesIO(source.read_bytes()))), restore(model, from_file(source)))


# --- trims ---


@pytest.mark.parametrize(("start", "duration", "frames"), [(0.2, 0.4, range(5, 15)), (0.4, 0, range(10, 20))])
def test_a_trim_is_honoured(comfy: FakeComfyUI, start: float, duration: float, frames: range) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=20, audio=True, **H264)
    model = comfy.load_quick("deblur")
    whole, restored = restore(model, from_file(source)), restore(model, from_file(source, start, duration))
    np.testing.assert_allclose(brightness(restored), [brightness(whole)[n] for n in frames], atol=0.5)
    assert read_stamps(restored) == [Fraction(n, 25) for n in range(len(frames))]
    seconds = sound_of(restored).shape[1] / 48000
    assert seconds == pytest.approx(len(frames) / 25, abs=0.05)
    with av.open(str(restored)) as container:
        assert next(container.decode(audio=0)).pts == 0, "what leads in is not heard"


# --- videos in memory ---


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (23.98, Fraction(1199, 50)),
        (7.3, Fraction(73, 10)),
        (0.1, Fraction(1, 10)),
        (24.0, Fraction(24)),
        (25.0, Fraction(25)),
    ],
)
@pytest.mark.parametrize("task", ["deblur", "interpolate"])
def test_rates_of_create_video_are_kept(comfy: FakeComfyUI, fps: float, expected: Fraction, task: str) -> None:
    """Create Video makes the fraction that the float is exactly: 23.976 has 48 bits above and below the bar."""
    images = torch.stack([torch.from_numpy(picture(n, 32, 48)).float() / 255 for n in range(4)])
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(fps)))
    restored = restore(comfy.load_quick(task), video)
    factor = 2 if task == "interpolate" else 1
    assert read_stamps(restored) == [n / (factor * expected) for n in range(4 * factor)]
    with av.open(str(restored)) as container:
        assert container.streams.video[0].average_rate == factor * expected


@pytest.mark.parametrize("fps", [0, -1, 1e9, "fast", None])
def test_a_rate_that_is_none_is_refused(comfy: FakeComfyUI, fps: Any) -> None:
    video = InputImpl.VideoFromComponents(Types.VideoComponents(torch.rand(2, 16, 16, 3), fps))
    with pytest.raises(InputError, match=r"frame_rate of .* must be above 0 and at most 1000 fps"):
        restore(comfy.load_quick("deblur"), video)


def test_edits_that_are_not_in_the_file_yet_are_honoured(comfy: FakeComfyUI) -> None:
    """A crop or a change of size is done by `get_components` (ComfyUI after 0.33)."""
    source = make_video(comfy.base / "in.mp4", num_frames=3, **H264)
    video = from_file(source)
    video.has_pending_frame_edits = lambda: True
    video.get_components = lambda: Types.VideoComponents(torch.rand(2, 16, 16, 3), Fraction(5))
    assert len(read_stamps(restore(comfy.load_quick("deblur"), video))) == 2


# --- what is refused ---


def test_what_cannot_be_read_is_refused_with_a_reason(comfy: FakeComfyUI) -> None:
    model = comfy.load_quick("deblur")
    (comfy.base / "no.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match="video cannot be read"):
        restore(model, from_file(comfy.base / "no.mp4"))
    source = make_video(comfy.base / "in.mp4", num_frames=5, **H264)
    with pytest.raises(InputError, match="no frame that can be decoded from 3 s on"):
        restore(model, from_file(source, 3.0))
    with pytest.raises(InputError, match=r"factor \(4\).*does not interpolate"):
        restore(model, from_file(source), factor="4")
    with pytest.raises(InputError, match="sigma_255"):
        restore(model, from_file(source), sigma_255=5.0)
    assert comfy.files() == []


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "list.mp4"])
def test_a_playlist_reads_no_other_file(comfy: FakeComfyUI, name: str) -> None:
    other = make_video(comfy.base / "private.ts", num_frames=40, codec="mpeg2video", options={}, size=(32, 48))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"
    (comfy.base / name).write_text(playlist if name.endswith("m3u8") else f"ffconcat version 1.0\nfile {other.name}\n")
    with av.open(str(comfy.base / name)) as container:
        assert next(container.decode(video=0)), "libav reads it"
    with pytest.raises(InputError, match=rf"video cannot be read: .*{name}: it is in a format that is not read here"):
        restore(comfy.load_quick("deblur"), from_file(comfy.base / name))


def test_notes_reach_the_user(comfy: FakeComfyUI, caplog: pytest.LogCaptureFixture) -> None:
    components = Types.VideoComponents(torch.rand(1, 16, 16, 4), Fraction(10))
    restore(comfy.load_quick("deblur"), InputImpl.VideoFromComponents(components))
    assert "alpha" in comfy.texts[-1]
    assert "one frame only" in comfy.texts[-1]
    assert "alpha" in caplog.text


def test_bits_that_are_lost_are_told(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mkv", num_frames=2, pix_fmt="yuv420p10le", size=(32, 48))
    restore(comfy.load_quick("deblur"), from_file(source))
    assert "the video has 10 bits a channel, the result has 8" in comfy.texts[-1]


# --- stopping, memory ---


@pytest.mark.parametrize("passed", [3, 60])
def test_a_cancel_leaves_no_file(comfy: FakeComfyUI, passed: int) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=60, audio=True, **H264)
    comfy.state.cancel_after = passed
    with pytest.raises(mm.InterruptProcessingException):
        restore(comfy.load_quick("deblur"), from_file(source))
    assert comfy.files() == []
    assert comfy.state.checks == passed + 1


def test_an_exception_that_is_no_exception_leaves_no_file(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI's cancel is a BaseException since 0.20."""

    class Interrupt(BaseException):
        pass

    def interrupt() -> None:
        raise Interrupt

    source = make_video(comfy.base / "in.mp4", num_frames=9, **H264)
    model = comfy.load_quick("deblur")
    monkeypatch.setattr(mm, "throw_exception_if_processing_interrupted", interrupt)
    with pytest.raises(Interrupt):
        restore(model, from_file(source))
    assert comfy.files() == []


class Failure(Exception):
    """An error in the middle of a run."""


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the writer fail when it gets frame `number`."""
    write = VideoWriter.write

    def failing(self: VideoWriter, rgb: torch.Tensor, pts: int) -> None:
        if self.num_frames == number:
            raise Failure("the lamp is broken")
        write(self, rgb, pts)

    monkeypatch.setattr(VideoWriter, "write", failing)


def test_a_failure_keeps_the_finished_frames(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=60, audio=True, **H264)
    fail_at(monkeypatch, 57)
    for run in range(2):
        with pytest.raises(Failure, match="the lamp is broken"):
            restore(comfy.load_quick("deblur"), from_file(source))
        assert comfy.files() == []
        assert len(comfy.files("output")) == run + 1
        kept = comfy.files("output")[-1]
        assert f"the run failed; the 57 frames that were finished are in {kept}" in comfy.texts[-1]
        assert read_stamps(kept) == [Fraction(n, 25) for n in range(57)]
        assert sound_of(kept).shape[1] / 48000 == pytest.approx(57 / 25, abs=0.05)


def test_a_failure_without_frames_leaves_no_file(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=9, **H264)
    fail_at(monkeypatch, 0)
    with pytest.raises(Failure):
        restore(comfy.load_quick("deblur"), from_file(source))
    assert comfy.files() == comfy.files("output") == []


def test_all_frames_before_an_error_of_the_video_are_kept(comfy: FakeComfyUI) -> None:
    parts = [make_video(comfy.base / f"{n}.ts", codec="mpeg2video", size=(n, 48), num_frames=10) for n in (32, 48)]
    source = comfy.base / "in.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match="has 48x48 pixels, those before it 48x32"):
        restore(comfy.load_quick("deblur"), from_file(source))
    (kept,) = comfy.files("output")
    assert len(read_stamps(kept)) == 10


def test_memory_does_not_grow_with_the_length(comfy: FakeComfyUI) -> None:
    model = comfy.load_quick("deblur")
    peaks = []
    for frames in (16, 64):
        source = make_video(comfy.base / f"{frames}.mp4", num_frames=frames, **H264)
        with LiveBytes() as live:
            restore(model, from_file(source))
        peaks.append(live.peak)
    assert peaks[1] < 1.1 * peaks[0]


def test_progress_counts_frames(comfy: FakeComfyUI) -> None:
    source = make_video(comfy.base / "in.mp4", num_frames=10, **H264)
    restore(comfy.load_quick("deblur"), from_file(source))
    assert comfy.bar[-1][:2] == (10, 10)
    assert any(preview for _, _, preview in comfy.bar)
    assert "10/10 frames" in comfy.texts[-1]
