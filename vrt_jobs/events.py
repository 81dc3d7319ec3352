"""Events of a job, for progress bars and logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vrt_media.clip import ClipInfo


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is known when the first frame is about to be restored."""

    input: str
    output: str
    model: str
    device: str
    info: ClipInfo
    """Input."""
    description: str
    """Size, pixel format and encoder of the output."""
    num_frames: int | None
    """Output frames, None if unknown; the number in a container may be slightly wrong."""
    num_finished: int
    """Output frames that an earlier run has restored."""


class JobEvents:
    """Gets the events of a job; does nothing. Programs override what they show."""

    def on_start(self, start: Start) -> None:
        """The first frame is about to be restored."""

    def on_frame(self, num_frames: int) -> None:
        """A frame was written; called with the number of finished output frames, in the thread that writes."""

    def on_step(self, done: int, total: int | None) -> None:
        """A network pass ended."""

    def on_segment(self, index: int, first_frame: int, num_frames: int) -> None:
        """A segment was finished, and will not be restored again; called in the thread that writes."""

    def on_workers(self, dashboard: str, fps: Mapping[str, float]) -> None:
        """Workers of a cluster are at work; called with the address of its page, "" for none, and the rate of each."""

    def on_left_out(self, text: str) -> None:
        """A thing that the output cannot hold."""

    def on_warning(self, text: str) -> None:
        """A thing that the user should know."""

    def on_join(self, num_segments: int) -> None:
        """All frames are restored; the segments are about to be joined."""
