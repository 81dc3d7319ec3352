"""The nodes on a real ComfyUI: the same frames as the command line, one load for two prompts, cancel."""

from __future__ import annotations

import os
import re
import statistics
import time
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.video_files import make_video
from tests.nodes.comfy_server import PACK, Prompt, PromptError, Saved, Server, complaints_in
from tests.nodes.frozen import ADVANCED, FROZEN, OPTIONAL
from tests.nodes.media import noisy, picture, write_video
from tests.nodes.prompts import TILES, WINDOW, load_model, node, restore_images, restore_video
from vrt_cli.main import app


def vrt(*arguments: object) -> None:
    """Run the command line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def images_of(server: Server, saved: list[Saved]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(BytesIO(server.view(entry)))) for entry in saved])


def planes_of(path: Path) -> np.ndarray:
    """Return the luma of a video, (T, H, W)."""
    with av.open(path) as container:
        return np.stack([np.asarray(frame.to_ndarray()[: frame.height]) for frame in container.decode(video=0)])


def sound_of(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_starts_without_a_complaint(server: Server) -> None:
    assert complaints_in(server.start_log) == []
    (about_us,) = [line for line in server.start_log.splitlines() if PACK in line]
    assert re.search(r" [\d.]+ seconds: /", about_us), "how long it took to import, and nothing else"
    assert "VRTRestoreVideo" in server.get("/object_info")


def test_shows_the_frozen_surface(server: Server) -> None:
    """Real servers show the interface that other tests check on the stand-in."""
    for name, (inputs, outputs) in FROZEN.items():
        facts = server.get(f"/object_info/{name}")[name]
        assert facts["input_order"]["required"] == [i for i in inputs if i not in OPTIONAL]
        assert [*facts["input_order"].get("optional", [])] == [i for i in inputs if i in OPTIONAL]
        assert [" ".join(pair) for pair in zip(facts["output"], facts["output_name"], strict=True)] == outputs
        assert len(facts["output_tooltips"]) == len(outputs)
        assert all(facts["output_tooltips"])
        inputs_of_kinds = {**facts["input"]["required"], **facts["input"].get("optional", {})}
        options = {key: widget[1] for key, widget in inputs_of_kinds.items()}
        assert all(widget["tooltip"] for widget in options.values())
        assert {key for key, widget in options.items() if widget.get("advanced")} == ADVANCED & {*inputs}


def test_serves_workflows_thumbnails_help_and_locales(server: Server) -> None:
    names = server.get("/workflow_templates")[PACK]
    assert set(names) == {
        "vrt_denoise_images", "vrt_restore_video", "vrt_upscale_x4", "vrt_interpolate", "vrt_compare"
    }  # fmt: skip
    for name in names:
        thumbnail = Image.open(BytesIO(server.request(f"/api/workflow_templates/{PACK}/{name}.jpg")))
        assert thumbnail.size == (400, 300)
        assert server.get(f"/api/workflow_templates/{PACK}/{name}.json")["nodes"]
    nodes = [name for name, facts in server.get("/object_info").items() if facts["category"] == "VRT"]
    assert len(nodes) == 7
    for name in nodes:
        assert server.request(f"/extensions/{PACK}/docs/{name}.md").startswith(b"# ")
    assert set(server.get("/i18n")["zh"]["nodeDefs"]) >= set(nodes)


def test_images_are_those_of_the_command_line(server: Server, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    prompt = restore_images("frame0.png", sigma_255=25.0)
    del prompt["3"]
    batch: list[Any] = ["2", 0]
    for n in range(4):
        for folder in (frames, server.base / "input"):
            Image.fromarray(noisy(picture(n, 45, 51), n)).save(folder / f"frame{n}.png")
        if n:
            prompt[f"load{n}"] = node("LoadImage", image=f"frame{n}.png")
            prompt[f"batch{n}"] = node("ImageBatch", image1=batch, image2=[f"load{n}", 0])
            batch = [f"batch{n}", 0]
    prompt["4"]["inputs"]["images"] = batch
    restored = images_of(server, server.run(prompt).outputs["5"]["images"])
    options = ("--model", "denoise-small", "--sigma", 25, "--precision", "fp32", "--device", "cpu", "-q")
    vrt("restore", frames, "-o", tmp_path / "out", *options)
    expected = np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("*.png"))])
    assert restored.shape == expected.shape == (4, 45, 51, 3)
    assert np.abs(restored.astype(int) - expected).max() <= 1, "Save Image cuts off where the command line rounds"
    assert np.abs(restored.astype(int) - [picture(n, 45, 51) for n in range(4)]).mean() < 12, (
        "noise of sigma 25 is gone"
    )


def test_video_is_that_of_the_command_line(server: Server, tmp_path: Path) -> None:
    """Luma of a lossless encoding, colour tags, sound, length."""
    run = server.run(restore_video(crf=0.0))
    saved = cast("Saved", run.outputs["4"]["images"][0])
    restored, source = server.path_of(saved), server.base / "input/video.mp4"
    options = ("--model", "denoise-small", "--sigma", 20, "--precision", "fp32", "--device", "cpu", "--crf", 0, "-q")
    vrt("restore", source, "-o", tmp_path / "out.mp4", *options)
    assert np.array_equal(planes_of(restored), planes_of(tmp_path / "out.mp4"))
    assert sound_of(restored) == sound_of(source)
    with av.open(restored) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert container.streams.video[0].average_rate == 10


def test_a_phone_clip_comes_out_upright_with_its_sound(server: Server) -> None:
    size = {"codec": "libx264", "size": (32, 48)}
    source = make_video(server.base / "input/phone.mp4", num_frames=3, rotation=90, audio=True, **size)
    restored = server.path_of(cast("Saved", server.run(restore_video("phone.mp4")).outputs["4"]["images"][0]))
    with av.open(restored) as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width, frame.rotation) == (48, 32, 0)
    assert sound_of(restored) == sound_of(source)


@pytest.mark.parametrize(
    ("kind", "frames", "size"), [("VRTInterpolate", 4, (32, 24)), ("VRTSpaceTimeSR", 4, (128, 96))]
)
def test_makes_frames_between(server: Server, kind: str, frames: int, size: tuple[int, int]) -> None:
    prompt = restore_images("small.png", frames=2)
    prompt["1"] = load_model("interpolate-small")
    prompt["4"] = node(kind, model=["1", 0], images=["3", 0], factor="2", **TILES)
    if kind == "VRTSpaceTimeSR":
        prompt["6"] = load_model("sr-small")
        prompt["4"] = node(kind, model=["6", 0], interpolate_model=["1", 0], images=["3", 0], factor="2", **WINDOW)
    restored = images_of(server, server.run(prompt).outputs["5"]["images"])
    assert restored.shape == (frames, size[1], size[0], 3)


def test_second_prompt_uses_the_model_of_the_first(server: Server) -> None:
    server.run(restore_images(sigma_255=11.0))
    run = server.run(restore_images(sigma_255=12.0))
    assert "1" in run.cached
    assert "4" not in run.cached
    assert "4" in server.run(restore_images(sigma_255=12.0)).cached


def test_new_weights_are_read(server: Server) -> None:
    """A file that has changed is loaded again, with no restart."""
    name = "mine.safetensors"
    shipped = next((Path(__file__).parents[2] / "weights").glob("*denoise_small.safetensors"))
    (server.base / "models/vrt" / name).write_bytes(shipped.read_bytes())
    assert (
        name in server.get("/object_info/VRTLoadModel")["VRTLoadModel"]["input"]["required"]["model_name"][1]["options"]
    )
    server.run(restore_images(model=name, sigma_255=13.0))
    assert "1" in server.run(restore_images(model=name, sigma_255=14.0)).cached
    os.utime(server.base / "models/vrt" / name, (0, 0))
    assert "1" not in server.run(restore_images(model=name, sigma_255=14.0)).cached


def test_cancel_stops_and_leaves_nothing(server: Server) -> None:
    write_video(server.base / "input/long.mp4", 150)
    folder = server.base / "temp/vrt"
    before = {*folder.glob("*")}
    prompt = server.queue(restore_video("long.mp4"))
    give_up = time.monotonic() + 60
    while not {*folder.glob("*")} - before:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    (file,) = {*folder.glob("*")} - before
    while not file.stat().st_size:  # frames are being written
        assert time.monotonic() < give_up
        time.sleep(0.05)
    server.request("/interrupt", {})
    with pytest.raises(PromptError, match="interrupted"):
        server.wait(prompt, 30)
    assert {*folder.glob("*")} == before
    server.run(restore_images(sigma_255=15.0))


def test_compares_images_and_videos(server: Server) -> None:
    prompt = restore_images()
    prompt["6"] = node("VRTCompare", before=["3", 0], after=["4", 0])
    entries = server.run(prompt).outputs["6"]
    assert len(entries["vrt_before"]) == len(entries["vrt_after"]) == 3
    assert all(server.view(entry).startswith(b"\x89PNG") for side in entries.values() for entry in side)
    prompt = restore_video()
    prompt["6"] = node("VRTCompareVideo", before=["2", 0], after=["3", 0])
    entries = server.run(prompt).outputs["6"]
    for entry in (*entries["vrt_before"], *entries["vrt_after"]):
        with av.open(BytesIO(server.view(entry)), "r") as container:
            assert sum(1 for _ in container.decode(video=0)) == 5


def held_bytes(server: Server, prompt: Prompt) -> float:
    """Run a prompt; return the median resident memory of the server meanwhile, in bytes.

    Not the peak: malloc retains up to 100 MiB of a pass, by chance.
    """
    prompt_id, held = server.queue(prompt), []
    while not server.get(f"/history/{prompt_id}"):
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        held.append(1024 * int(status.split("VmRSS:")[1].split()[0]))
        time.sleep(0.1)
    server.wait(prompt_id)
    return statistics.median(held)


@pytest.mark.slow
def test_long_video_takes_no_more_memory_than_a_short_one(server: Server, tiny_files: Path) -> None:
    (server.base / "models/vrt/denoise.safetensors").symlink_to(tiny_files / "denoise.safetensors")
    held = {}
    for frames in (30, 40, 500):  # the first one warms up
        write_video(server.base / f"input/{frames}.mp4", frames, height=180, width=320)
        held[frames] = held_bytes(server, restore_video(f"{frames}.mp4", model="denoise.safetensors"))
    print({frames: f"{median / 2**20:.0f} MiB" for frames, median in held.items()})
    bytes_of_all = (500 - 40) * 180 * 320 * 3  # in 8 bits; half of them are there half of the time
    assert held[500] - held[40] < bytes_of_all / 4
