"""Gaps in time stamps: told for constant rates, not for variable ones."""

import random
import re
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.helpers.damaged_files import lose
from tests.helpers.video_files import make_video
from vrt_media.clip import MediaError
from vrt_media.gaps import GapWatch
from vrt_media.reader import VideoReader


def missing(stamps: list[int]) -> int:
    watch = GapWatch()
    for stamp in stamps:
        watch.push(stamp)
    return watch.count_missing()


@pytest.mark.parametrize("step", [1, 2, 41, 3003])
def test_gaps_of_a_constant_rate(step: int) -> None:
    regular = [step * n for n in range(60)]
    assert missing(regular) == 0
    assert missing([s for s in regular if s not in (5 * step, 6 * step, 40 * step)]) == 3


def test_rounded_steps_are_regular() -> None:
    assert missing([round(n * 1001 / 24) for n in range(60)]) == 0
    assert missing([round(n * 1001 / 24) for n in range(60) if n not in (7, 8)]) == 2


def test_variable_rates_have_no_gaps() -> None:
    rng = random.Random(0)
    assert missing([n * 40 + rng.randrange(30) for n in range(60)]) == 0
    assert missing([40 * n for n in range(60) if n % 5]) == 0
    assert missing([0, 40, 1000]) == 0


def test_a_lost_packet_is_told(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mkv", codec="mjpeg", pix_fmt="yuvj420p", num_frames=30)
    clip = lose(whole, tmp_path / "in.mkv", [9])
    notes: list[str] = []
    reader = VideoReader(clip, on_note=notes.append)
    assert sum(1 for _ in reader.frames(lambda packet: None)) == 29
    reader.close()
    assert notes == [f"{clip}: its time stamps have gaps, of 1 frame in all; the frames before them are shown longer"]


def test_frames_of_a_damaged_cluster_are_damage(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", codec="mjpeg", pix_fmt="yuvj420p", num_frames=30)
    with av.open(clip) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    assert positions[9] is not None
    assert positions[12] is not None
    data[positions[9] : positions[12]] = bytes(positions[12] - positions[9])
    clip.write_bytes(data)
    notes: list[str] = []
    reader = VideoReader(clip, on_note=notes.append)
    num_frames = sum(1 for _ in reader.frames(lambda packet: None))
    reader.close()
    assert num_frames < 30
    (line,) = reader.damage.lines()
    number = 30 - num_frames
    assert re.fullmatch(rf"{number} frames \(from 0\.\d+ s on\) should be there: a part of the file .*", line)
    assert len(notes) == 1
    with pytest.raises(MediaError, match="is damaged"):
        list(VideoReader(clip, strict=True).frames(lambda packet: None))


@pytest.mark.parametrize(("first", "is_noted"), [(0, False), (400, False), (1280, True)])
def test_matroska_that_begins_late(tmp_path: Path, first: int, is_noted: bool) -> None:
    """A damaged header can hide the first clusters."""
    stamps = [first + 40 * n for n in range(6)]
    clip = make_video(tmp_path / "in.mkv", num_frames=6, stamps=stamps, time_base=Fraction(1, 1000))
    notes: list[str] = []
    assert sum(1 for _ in VideoReader(clip, on_note=notes.append).frames(lambda packet: None)) == 6
    assert notes == ([f"{clip}: its first frame is at 1.280 s; some may be lost before it"] if is_noted else [])
