"""Frames of the segment in work: on the disk before their record, and read back as they were."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.video_files import picture
from tests.jobs.jobs import plan_of
from vrt_jobs.disk import Disk
from vrt_jobs.spill import Spill, frames_path, read_frames, read_record, record_path

PLAN = plan_of(48, 72).mux


def frame_of(n: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture(n, 48, 72), format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = 40 * n, PLAN.time_base
    return frame


def spill_of(folder: Path, num_frames: int, disk: Disk | None = None) -> Spill:
    spill = Spill(folder, 7, disk or Disk())
    for n in range(num_frames):
        spill.append(frame_of(n))
    spill.save()
    return spill


def test_frames_come_back_as_they_were(tmp_path: Path) -> None:
    spill_of(tmp_path, 3).close()
    record = read_record(tmp_path, 7, PLAN)
    assert record is not None
    frames = list(read_frames(tmp_path, record, PLAN))
    assert [frame.pts for frame in frames] == [0, 40, 80]
    for n, frame in enumerate(frames):
        assert np.array_equal(frame.to_ndarray(), frame_of(n).to_ndarray())


def test_a_power_cut_costs_what_came_after_the_last_record(tmp_path: Path) -> None:
    """Data that was not synchronised may be there in part or not at all."""
    for num_lost in (0, 5, 48 * 72 * 3):
        spill = spill_of(tmp_path, 3)
        record = read_record(tmp_path, 7, PLAN)
        assert record is not None
        spill.append(frame_of(3))
        spill.append(frame_of(4))
        spill.close()
        size = frames_path(tmp_path, 7).stat().st_size
        with frames_path(tmp_path, 7).open("r+b") as file:
            file.truncate(max(size - num_lost, record.num_bytes))
        assert read_record(tmp_path, 7, PLAN) == record
        spill = Spill(tmp_path, 7, Disk(), record)  # the job goes on
        spill.append(frame_of(3))
        spill.save()
        spill.close()
        again = read_record(tmp_path, 7, PLAN)
        assert again is not None
        assert again.stamps == [0, 40, 80, 120]


def test_the_record_is_written_after_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("sync", "replace"):
        call = getattr(Disk, name)

        def watch(disk: Disk, item: object, *rest: object, name: str = name, call: object = call) -> None:
            calls.append(name)
            call(disk, item, *rest)  # type: ignore[operator]

        monkeypatch.setattr(Disk, name, watch)
    spill_of(tmp_path, 2).close()
    assert calls == ["sync", "sync", "replace"]  # the frames; the record, under a temporary name; its name


def test_frames_that_do_not_fit_their_record_are_not_read(tmp_path: Path) -> None:
    spill_of(tmp_path, 2).close()
    data = frames_path(tmp_path, 7).read_bytes()
    for broken in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), b""):
        frames_path(tmp_path, 7).write_bytes(broken)
        assert read_record(tmp_path, 7, PLAN) is None
    frames_path(tmp_path, 7).write_bytes(data)
    assert read_record(tmp_path, 7, PLAN) is not None
    assert read_record(tmp_path, 7, plan_of(48, 640).mux) is None
    record_path(tmp_path, 7).write_text("[1]")
    assert read_record(tmp_path, 7, PLAN) is None
