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

_log = logging.getLogger(__name__)

PREVIEW_PX = 512
PREVIEW_SECONDS, TEXT_SECONDS = 0.4, 0.25
"""Minimum time between two previews and between two texts."""


class RunProgress:
    """Reports one run of a node; created in its ``execute``, in the thread that ComfyUI calls it in."""

    def __init__(self) -> None:
        context = get_executing_context()
        self._node_id = context.node_id if context else None
        self._bar = ProgressBar(1)
        self._num_frames: int | None = None
        self._frames_done = 0
        self._passes: tuple[int, int | None] = (0, None)
        self._start_seconds = time.monotonic()
        self._preview_seconds = self._text_seconds = float("-inf")
        """Times of the last preview and the last text."""
        self._notes: list[str] = []

    def start(self, num_frames: int | None) -> None:
        """Start the clock.

        Args:
            num_frames: Number of output frames, which may be slightly wrong; None if unknown.
        """
        self._num_frames = num_frames
        self._start_seconds = time.monotonic()

    def raise_if_cancelled(self) -> None:
        """Raise ComfyUI's exception if the user has cancelled."""
        mm.throw_exception_if_processing_interrupted()

    def warn_user(self, text: str) -> None:
        """Show a warning in the log, and on the node below the numbers."""
        _log.warning("%s", text)
        self._notes.append(text)

    def on_step(self, done: int, total: int | None) -> None:
        """Count a pass of the network."""
        self._passes = done, total
        self._update()

    def on_frame(self, frame: Tensor) -> None:
        """Count a finished frame, (3, H, W), nominally in [0, 1]."""
        self._frames_done += 1
        now = time.monotonic()
        is_due = now - self._preview_seconds >= PREVIEW_SECONDS
        if is_due:
            self._preview_seconds = now
        self._update(_preview(frame) if is_due else None)

    def finish(self) -> None:
        """Show that the run has ended."""
        self._passes = (0, None)
        self._num_frames = self._frames_done
        self._text_seconds = float("-inf")
        self._update()

    def _update(self, preview: Image.Image | None = None) -> None:
        done, total = self._passes
        if total is None:
            done, total = self._frames_done, self._num_frames or self._frames_done + 1
        self._bar.update_absolute(done, total, ("JPEG", preview, PREVIEW_PX) if preview else None)
        now = time.monotonic()
        if now - self._text_seconds >= TEXT_SECONDS:
            self._text_seconds = now
            self._send_text(self._describe(now - self._start_seconds))

    def _describe(self, seconds: float) -> str:
        frames = f"{self._frames_done}/{self._num_frames} frames" if self._num_frames else f"{self._frames_done} frames"
        done, total = self._passes
        words = [frames]
        if self._frames_done and seconds > 0:
            rate = self._frames_done / seconds
            words.append(f"{rate:.2f} fps" if rate >= 0.1 else f"{1 / rate:.1f} s/frame")
        if done:
            words.append(f"pass {done}/{total}" if total else f"pass {done}")
        return ", ".join(words) + "".join(f"\n{note}" for note in self._notes)

    def _send_text(self, text: str) -> None:
        server = getattr(PromptServer, "instance", None)
        if server is not None and self._node_id is not None:
            server.send_progress_text(text, self._node_id, server.client_id)


def _preview(frame: Tensor) -> Image.Image:
    """Return a frame (3, H, W) as an image of about the preview's size."""
    step = max(1, max(frame.shape[-2:]) // PREVIEW_PX)
    small = frame[:, ::step, ::step].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(small.movedim(0, -1).contiguous().cpu().numpy())
