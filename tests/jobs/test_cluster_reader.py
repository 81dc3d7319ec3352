"""Parts of a clip, one after another: frames and time stamps are those of a reader that begins anew."""

from itertools import islice
from pathlib import Path

import torch

from tests.helpers.damaged_files import overwrite
from tests.helpers.video_files import make_video
from tests.jobs.fake_pool import clip_of
from vrt_jobs.cluster_reader import PartReader
from vrt_media.clip import FrameReader, TimedFrame
from vrt_media.reader import VideoReader

PARTS = [(0, 20, 8), (8, 30, 19), (19, 25, 40), (40, 41, 60), (12, 20, 60), (60, 200, 70), (70, 71, 80)]
"""First frame, frame before which to stop, first frame of the next part: overlapping, apart, back, to the end."""


def read(reader: FrameReader, first: int, stop: int) -> tuple[list[TimedFrame], list[int | None]]:
    """Frames [first, stop), and the stamps of those before them."""
    skipped = list[int | None]()
    frames = reader.frames(lambda packet: None, skip=first, on_skipped=skipped.append)
    return list(islice(frames, stop - first)), skipped


def test_parts_are_those_of_a_reader_that_begins_anew(tmp_path: Path) -> None:
    damaged = overwrite(make_video(tmp_path / "intact.mkv", num_frames=70), tmp_path / "damaged.mkv", [20, 21, 45])
    for clip in (clip_of(tmp_path), damaged):
        opened = list[VideoReader]()

        def open_clip(clip: Path = clip, opened: list[VideoReader] = opened) -> VideoReader:
            opened.append(VideoReader(clip, on_note=lambda text: None))
            return opened[-1]

        parts = PartReader(open_clip)
        for first, stop, next_first in PARTS:
            parts.begin_part(first, next_first)
            frames, skipped = read(parts, first, stop)
            again, skipped_again = read(VideoReader(clip, on_note=lambda text: None), first, stop)
            assert [frame.pts for frame in frames] == [frame.pts for frame in again]
            assert all(torch.equal(a.rgb, b.rgb) for a, b in zip(frames, again, strict=True))
            assert skipped == skipped_again
            assert parts.is_at_end == (first >= 60)
        assert parts.num_frames == 70
        assert parts.damage == tuple(opened[-1].damage.lines())
        assert len(opened) == 2, "only the part that goes back begins anew"
