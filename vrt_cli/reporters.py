"""What `vrt restore` says while it works: lines and a progress bar for people, or JSON objects for programs."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console

from vrt_jobs.callbacks import Result
from vrt_jobs.events import JobEvents, Start
from vrt_jobs.texts import count
from vrt_media.clip import ClipInfo

from .progress import FrameProgress

MAX_NAMED_WORKERS = 4
"""Workers whose rates are shown one by one."""
PROGRESS_SECONDS = 1.0
"""Time between two JSON objects of progress."""


class Reporter(JobEvents):
    """Shows the events of one job, and how it ended."""

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def on_done(self, result: Result) -> None:
        """The output is whole."""

    def on_stopped(self, text: str, exit_code: int) -> None:
        """A signal or an error ended the job; `text` says what is left."""


class TextReporter(Reporter):
    """Lines on standard error, and a progress bar if that is a terminal."""

    def __init__(self, console: Console, *, label: str, quiet: bool) -> None:
        """Show nothing yet.

        Args:
            console: Console on standard error.
            label: Name of the model.
            quiet: Whether to show only what went wrong or was left out.
        """
        self._console, self._label, self._quiet = console, label, quiet
        self._bar = FrameProgress(console, label=label, total=None, quiet=quiet)
        self._dashboard = ""

    def __enter__(self) -> "TextReporter":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def on_start(self, start: Start) -> None:
        """Say what goes in and what comes out."""
        if start.num_finished:
            self._say(f"going on after {count(start.num_finished, 'finished frame')}")
        self._say(f"{self._label} on {start.device}: {describe(start.info)} -> {start.description}")
        self._bar.start(start.num_frames, start.num_finished)

    def on_frame(self, num_frames: int) -> None:
        """Move the bar."""
        self._bar.on_frame(num_frames)

    def on_step(self, done: int, total: int | None) -> None:
        """Count network passes."""
        self._bar.on_step(done, total)

    def on_workers(self, dashboard: str, fps: Mapping[str, float]) -> None:
        """Show the rates beside the bar; print the address of the page once."""
        if dashboard != self._dashboard:
            self._dashboard = dashboard
            self._say(f"dashboard: {dashboard}")
        self._bar.show(describe_rates(fps))

    def on_join(self, num_segments: int) -> None:
        """Show it."""
        self._bar.show("joining")

    def on_left_out(self, text: str) -> None:
        """Print it, also if quiet."""
        self._say(f"left out: {text}", always=True)

    def on_warning(self, text: str) -> None:
        """Print it, also if quiet."""
        self._say(text, always=True)

    def on_done(self, result: Result) -> None:
        """Say how long it took, and what was damaged."""
        self._say(f"{self._bar.summary} -> {result.name}")
        for line in result.damage:
            self._say(f"damaged input: {line}", always=True)

    def on_stopped(self, text: str, exit_code: int) -> None:
        """Print it."""
        self._say(text, always=True)

    def _say(self, line: str, *, always: bool = False) -> None:
        if always or not self._quiet:
            self._console.print(line, markup=False)


class JsonReporter(Reporter):
    """One JSON object a line on standard error: start, progress, segment, workers, warning, left_out, done, error.

    Numbers of frames count output frames from the start of the clip; `seconds` is the time since this run began.
    """

    def __init__(self) -> None:
        """Print nothing yet."""
        self._start_seconds = self._first_seconds = time.monotonic()
        self._last_seconds = 0.0
        self._num_finished, self._total, self._num_frames = 0, None, 0

    def on_start(self, start: Start) -> None:
        """Print the input, the output, and how much is done."""
        self._num_finished, self._total = start.num_finished, start.num_frames
        self._first_seconds = time.monotonic()
        self._print(
            "start",
            input=start.input,
            output=start.output,
            model=start.model,
            device=start.device,
            width=start.info.width,
            height=start.info.height,
            pix_fmt=start.info.pix_fmt,
            output_format=start.description,
            frames=start.num_frames,
            finished_frames=start.num_finished,
        )

    def on_frame(self, num_frames: int) -> None:
        """Print the progress, once a second."""
        self._num_frames = num_frames
        now = time.monotonic()
        if now - self._last_seconds < PROGRESS_SECONDS:
            return
        self._last_seconds, seconds = now, now - self._first_seconds
        num_done = num_frames - self._num_finished
        rate = num_done / seconds if seconds > 0 else 0.0
        total = self._total if self._total is None or self._total >= num_frames else None  # a header may be wrong
        remaining = None if total is None or not rate else round((total - num_frames) / rate, 1)
        self._print("progress", frames=num_frames, of=total, fps=round(rate, 4), remaining_seconds=remaining)

    def on_segment(self, index: int, first_frame: int, num_frames: int) -> None:
        """Print which frames are safe."""
        self._print("segment", index=index, first_frame=first_frame, frames=num_frames)

    def on_workers(self, dashboard: str, fps: Mapping[str, float]) -> None:
        """Print the page of the cluster, and the rate of each worker."""
        self._print("workers", dashboard=dashboard, fps={name: round(rate, 4) for name, rate in fps.items()})

    def on_left_out(self, text: str) -> None:
        """Print it."""
        self._print("left_out", message=text)

    def on_warning(self, text: str) -> None:
        """Print it."""
        self._print("warning", message=text)

    def on_done(self, result: Result) -> None:
        """Print what came out."""
        self._print("done", output=result.name, frames=result.num_frames, damage=list(result.damage))

    def on_stopped(self, text: str, exit_code: int) -> None:
        """Print why, and what is left."""
        self._print("error", message=text, exit_code=exit_code)

    def _print(self, kind: str, **facts: Any) -> None:
        print_json(kind, **facts, seconds=round(time.monotonic() - self._start_seconds, 3))


class JsonLogHandler(logging.Handler):
    """Prints log records as objects of the type "warning"."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print_json("warning", message=record.getMessage())


def print_json(kind: str, **facts: Any) -> None:
    """Print one object on standard error."""
    sys.stderr.write(json.dumps({"type": kind, **facts}) + "\n")
    sys.stderr.flush()


def describe_rates(fps: Mapping[str, float]) -> str:
    """Return the rates of workers, by name; of many, their number and the slowest and fastest rate."""
    if not fps:
        return "workers start"
    if len(fps) <= MAX_NAMED_WORKERS:
        return ", ".join(f"{name} {rate:.2f} fps" for name, rate in sorted(fps.items()))
    return f"{len(fps)} workers, {min(fps.values()):.2f} to {max(fps.values()):.2f} fps each"


def describe(info: ClipInfo) -> str:
    """Return size, format and length of a clip."""
    length = "" if info.num_frames is None else f", {count(info.num_frames, 'frame')}"
    return f"{info.width}x{info.height} {info.pix_fmt}{length}"
