"""Several inputs in one command, and the events for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture, read_planes
from tests.helpers.vrt_restore import VrtRestore
from vrt_jobs.queue import expand_inputs, outputs_in
from vrt_media.clip import MediaError

FIELDS = {
    "start": "input output model device width height pix_fmt output_format frames finished_frames",
    "progress": "frames of fps remaining_seconds",
    "segment": "index first_frame frames",
    "workers": "dashboard fps",
    "warning": "message",
    "left_out": "message",
    "done": "output frames damage",
    "error": "message exit_code",
}
"""Fields of each kind of event, beside `type` and `seconds`: programs depend on them."""


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_failed_file_does_not_stop_the_others(tmp_path: Path, vrt: VrtRestore) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.mkv", "c.mp4"):
        make_video(folder / name, codec="libx264")
    (folder / "b.mkv").write_bytes(b"broken")
    result = vrt(folder, "--out-dir", out)
    assert result.exit_code == 1
    assert "[2/3]" in result.stderr
    assert "b.mkv: no video or image that can be read" in result.stderr
    assert "2 restored, 1 failed" in result.stderr
    assert sorted(p.name for p in out.iterdir()) == ["a.mkv", "c.mp4"]
    assert len(read_planes(out / "c.mp4")) == 12


def test_the_same_command_goes_on_with_the_rest(tmp_path: Path, vrt: VrtRestore) -> None:
    clips = [make_video(tmp_path / f"{n}.mkv") for n in range(3)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.mkv").write_bytes(b"another film")
    result = vrt(*clips, "--out-dir", tmp_path / "out")
    assert result.exit_code == 1
    assert "1.mkv is there already; -y replaces it" in result.stderr
    assert (tmp_path / "out" / "1.mkv").read_bytes() == b"another film"
    assert "2 restored, 1 failed" in result.stderr


def test_names_patterns_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b2.mkv", "b10.mkv", "a [1].mkv", "film.avi", "folder/x.mp4", "folder/notes.txt", "shots/0.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert expand_inputs(["b*.mkv", "a [1].mkv", "b2.mkv"]) == ["b10.mkv", "b2.mkv", "a [1].mkv"]
    assert expand_inputs(["folder", "shots"]) == ["folder/x.mp4", "shots"]
    assert outputs_in(Path("o"), ["a.avi", "b.MP4", "shots"]) == ["o/a.mkv", "o/b.mp4", "o/shots"]
    assert outputs_in(Path("o"), ["a.avi", "b.MP4"], ".mov") == ["o/a.mov", "o/b.mov"]
    with pytest.raises(MediaError, match="no file has such a name"):
        expand_inputs(["c*.mkv"])
    with pytest.raises(MediaError, match=r"2 inputs would become o/a\.mkv"):
        outputs_in(Path("o"), ["x/a.mkv", "y/A.avi"])


def test_one_output_takes_one_input(tmp_path: Path, vrt: VrtRestore) -> None:
    clips = [make_video(tmp_path / f"{n}.mkv", num_frames=1) for n in range(2)]
    assert vrt(*clips, "-o", tmp_path / "out.mkv").exit_code == 2
    assert vrt(clips[0]).exit_code == 2
    assert vrt(clips[0], "-o", tmp_path / "a.mkv", "--out-dir", tmp_path).exit_code == 2


def test_events_for_programs(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=40, audio=True)
    result = vrt(clip, "-o", tmp_path / "out.webm", "--json", "--segment-frames", "16")
    assert result.exit_code == 0
    parsed = events(result.stderr)
    assert result.stdout == ""
    for event in parsed:
        assert set(event) == {"type", "seconds", *FIELDS[event["type"]].split()}, event
    kinds = [event["type"] for event in parsed]
    assert kinds[0] == "start"
    assert kinds[-1] == "done"
    assert kinds.count("segment") == 3
    assert "left_out" in kinds
    segments = [(e["index"], e["first_frame"], e["frames"]) for e in parsed if e["type"] == "segment"]
    assert segments == [(0, 0, 16), (1, 16, 16), (2, 32, 8)]
    assert parsed[-1]["frames"] == 40


def test_errors_for_programs(tmp_path: Path, vrt: VrtRestore) -> None:
    result = vrt(tmp_path / "none.mkv", "-o", tmp_path / "out.mkv", "--json")
    assert result.exit_code == 1
    (event,) = events(result.stderr)
    assert event["type"] == "error"
    assert event["exit_code"] == 1
    assert "no such file" in event["message"]


def test_images_have_events_too(tmp_path: Path, vrt: VrtRestore) -> None:
    (tmp_path / "in").mkdir()
    for n in range(3):
        write_image_file(tmp_path / "in" / f"{n}.png", picture(n))
    result = vrt(tmp_path / "in", "-o", tmp_path / "out", "--json", restorer=identity_restorer(scale=2))
    assert events(result.stderr)[0]["type"] == "start"
    assert events(result.stderr)[-1]["frames"] == 3
