"""Progress of a run on its node: progress bar, live preview, a line of text; and cancelling."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import comfy.model_management as mm
from comfy.utils import ProgressBar
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

if TYPE_CHECKING:
    from torch import Tensor

    from vrt_core import Restorer

_log = logging.getLogger(__name__)

PREVIEW_PX = 512
PREVIEW_SECONDS, UPDATE_SECONDS = 0.4, 0.25
"""Minimum time between two previews, and between two updates within a pass."""
UNITS_PER_PASS = 1000
"""Units of the progress bar for a pass of the network, within which it moves, too."""
NUM_WARPS = 7
"""Parallel warpings of a network that aligns frames, one in each stage."""


class RunProgress:
    """Reports one run of a node, or one part of it; created in its ``execute``, in the thread that ComfyUI calls."""

    def __init__(self, label: str = "", *, shows_preview: bool = True) -> None:
        """Start without a total.

        Args:
            label: First words of the text, for a node that does several things.
            shows_preview: Whether finished frames are shown on the node.
        """
        context = get_executing_context()
        self._node_id = context.node_id if context else None
        self._label, self._shows_preview = label, shows_preview
        self._bar = ProgressBar(1)
        self._num_frames: int | None = None
        self._frames_done = 0
        self._passes_done, self._num_passes = 0, 0
        self._steps_done, self._steps_per_pass = 0, 1
        self._start_seconds = time.monotonic()
        self._preview_seconds = self._update_seconds = float("-inf")
        """Times of the last preview and of the last update."""
        self._notes: list[str] = []

    def start(self, num_frames: int | None, restorer: Restorer | None = None, size: tuple[int, int] = (0, 0)) -> None:
        """Start the clock, and show the first text.

        Args:
            num_frames: Number of output frames, which may be slightly wrong; None if unknown.
            restorer: What restores the frames; its passes and their blocks are then counted, too.
            size: (H, W) of the input frames, in pixels.
        """
        self._num_frames = num_frames
        self._start_seconds = time.monotonic()
        if restorer is not None:
            self._steps_per_pass = _count_steps(restorer, num_frames, *size)
            if num_frames is not None:
                self._num_passes = _count_passes(restorer, num_frames // restorer.frame_factor, *size)
        self._update(is_forced=True)

    def raise_if_cancelled(self) -> None:
        """Raise ComfyUI's exception if the user has cancelled."""
        mm.throw_exception_if_processing_interrupted()

    def check(self) -> None:
        """Count a step of a pass, such as a block; raise ComfyUI's exception if the user has cancelled."""
        self.raise_if_cancelled()
        self._steps_done += 1
        self._update()

    def warn_user(self, text: str) -> None:
        """Show a warning in the log, and on the node below the numbers."""
        _log.warning("%s", text)
        self._notes.append(text)

    def on_step(self, done: int, total: int | None) -> None:
        """Count a pass of the network."""
        self._passes_done = done
        self._num_passes = max(self._num_passes, done) if total is None else total
        self._steps_done = 0
        self._update(is_forced=True)

    def on_frame(self, frame: Tensor) -> None:
        """Count a finished frame, (3, H, W), nominally in [0, 1]."""
        self._frames_done += 1
        now = time.monotonic()
        is_due = self._shows_preview and now - self._preview_seconds >= PREVIEW_SECONDS
        if is_due:
            self._preview_seconds = now
        self._update(_preview(frame) if is_due else None)

    def finish(self) -> None:
        """Show that the run has ended."""
        self._num_passes = 0
        self._num_frames = self._frames_done
        self._update(is_forced=True)

    def _update(self, preview: Image.Image | None = None, *, is_forced: bool = False) -> None:
        now = time.monotonic()
        if not (is_forced or preview or now - self._update_seconds >= UPDATE_SECONDS):
            return
        self._update_seconds = now
        done, total = self._frames_done, self._num_frames or self._frames_done + 1
        if self._num_passes:
            done = round(UNITS_PER_PASS * min(self._passes_done + self._part_of_pass, self._num_passes))
            total = UNITS_PER_PASS * self._num_passes
        self._bar.update_absolute(done, total, ("JPEG", preview, PREVIEW_PX) if preview else None)
        self._send_text(self._describe(now - self._start_seconds))

    @property
    def _part_of_pass(self) -> float:
        return min(self._steps_done / self._steps_per_pass, 1)

    def _describe(self, seconds: float) -> str:
        frames = f"{self._frames_done}/{self._num_frames} frames" if self._num_frames else f"{self._frames_done} frames"
        words = [f"{self._label}: {frames}" if self._label else frames]
        if self._frames_done and seconds > 0:
            rate = self._frames_done / seconds
            words.append(f"{rate:.2f} fps" if rate >= 0.1 else f"{1 / rate:.1f} s/frame")
        elif seconds >= 1:
            words.append(f"{seconds:.0f} s")
        if self._num_passes and self._passes_done < self._num_passes:
            words.append(f"pass {self._passes_done + 1}/{self._num_passes} ({self._part_of_pass:.0%})")
        return ", ".join(words) + "".join(f"\n{note}" for note in self._notes)

    def _send_text(self, text: str) -> None:
        server = getattr(PromptServer, "instance", None)
        if server is not None and self._node_id is not None:
            server.send_progress_text(text, self._node_id, server.client_id)


def _count_steps(restorer: Restorer, num_frames: int | None, height: int, width: int) -> int:
    """Return the calls of ``check`` in the first pass: filters, flows, the pass itself, warpings, blocks."""
    runner = restorer.runners[0]
    config, num_steps = runner.network.config, 1
    window_frames = getattr(runner, "window_frames", 1)
    window_frames = min(window_frames, num_frames or window_frames)
    if config.prior_step_px:
        size = runner.padded_size(height, width)
        num_steps += runner.network.prior.num_chunks(window_frames, *size, runner.device)
    if config.group_passes:
        num_steps += runner.network.group_filter.num_chunks(window_frames, height, width, runner.device)
    if config.uses_flows:
        num_steps += window_frames - 1 + NUM_WARPS
    return num_steps + sum(config.depths)


def _count_passes(restorer: Restorer, num_frames: int, height: int, width: int) -> int:
    """Return the number of network passes for a clip without cuts, each of which may add one."""
    num_passes, num_held_frames = 0, 1
    for runner in restorer.runners:
        windows = runner.make_plan(max(num_frames, 1), (), num_held_frames)
        num_passes += windows.num_passes() * runner.num_tiles(height, width)
        num_frames, num_held_frames = runner.frame_factor * num_frames, runner.frame_factor * num_held_frames
        height, width = runner.scale * height, runner.scale * width
    return num_passes


def _preview(frame: Tensor) -> Image.Image:
    """Return a frame (3, H, W) as an image of about the preview's size."""
    step = max(1, max(frame.shape[-2:]) // PREVIEW_PX)
    small = frame[:, ::step, ::step].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(small.movedim(0, -1).contiguous().cpu().numpy())
