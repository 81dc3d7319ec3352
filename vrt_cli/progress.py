"""Progress bar on standard error; standard output may be a pipe of frames."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from vrt_jobs.texts import count

ESTIMATE_OVER_SECONDS = 600


def make_console(**options: Any) -> Console:
    """Return a console on standard error; a terminal that has no width (COLUMNS=0) gets the usual one."""
    console = Console(stderr=True, **options)
    return console if console.width > 0 else Console(stderr=True, width=80, **options)


class FrameColumn(ProgressColumn):
    """Column with the frames done, the number of all frames, and the rate."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        total = "?" if task.total is None else f"{task.total:.0f}"
        rate = format_rate(task.completed - task.fields["num_finished"], task.elapsed or 0)
        return Text(f"{task.completed:.0f}/{total} frames  {rate}")


def format_rate(num_frames: float, seconds: float) -> str:
    """Return frames per second, or seconds per frame for slow models."""
    if not num_frames or seconds <= 0:
        return "- fps"
    return f"{num_frames / seconds:.2f} fps" if num_frames >= 0.1 * seconds else f"{seconds / num_frames:.1f} s/frame"


class FrameProgress:
    """Progress bar over the frames of a clip, with frames per second and the remaining time.

    Nothing is drawn if quiet or without a terminal.
    """

    def __init__(self, console: Console, *, label: str, total: int | None, quiet: bool = False) -> None:
        self.label, self.num_frames, self._num_finished = label, 0, 0
        self._start_seconds = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            FrameColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[step]}"),
            console=console,
            expand=True,
            transient=True,
            speed_estimate_period=ESTIMATE_OVER_SECONDS,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=total, step="", num_finished=0)

    def start(self, total: int | None, num_finished: int) -> None:
        """Begin to measure; set the number of all frames, and of those that an earlier run finished."""
        self.num_frames = self._num_finished = num_finished
        self._start_seconds = time.monotonic()
        self._progress.reset(self._task, total=total, completed=num_finished, num_finished=num_finished)

    def on_frame(self, num_frames: int) -> None:
        """Set the number of finished frames."""
        self.num_frames = num_frames
        task = self._progress.tasks[0]
        if task.total is not None and num_frames > task.total:
            task.total = None  # the header of the file announced too few
        self._progress.update(self._task, completed=num_frames)

    def on_step(self, done: int, total: int | None) -> None:
        """Show the number of network passes; before the first frame there is nothing else to show."""
        self._progress.update(self._task, step=f"pass {done}" if total is None else f"pass {done}/{total}")

    def show(self, step: str) -> None:
        """Show what is done without counting frames."""
        self._progress.update(self._task, step=step)

    @property
    def summary(self) -> str:
        """The number of frames, the time and the rate, in one line."""
        seconds = time.monotonic() - self._start_seconds
        num_frames = self.num_frames - self._num_finished
        return f"{count(num_frames, 'frame')} in {seconds:.1f} s ({format_rate(num_frames, seconds)})"

    def __enter__(self) -> "FrameProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
