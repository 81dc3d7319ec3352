"""What a user sees of a run, and how to stop it: progress bar, live preview, a line of text, cancel."""

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
"""Least time between two."""


class Monitor:
    """Follows one run of a node; made in its ``execute``, in the thread that ComfyUI calls it in."""

    def __init__(self) -> None:
        context = get_executing_context()
        self._node_id = context.node_id if context else None
        self._bar = ProgressBar(1)
        self._num_frames: int | None = None
        self._frames_done = 0
        self._passes: tuple[int, int | None] = (0, None)
        self._began = time.monotonic()
        self._shown = self._told = float("-inf")
        self._notes: list[str] = []

    def expect(self, num_frames: int | None) -> None:
        """Begin the work.

        Args:
            num_frames: Frames that will come out, if that is known; may be a little wrong.
        """
        self._num_frames = num_frames
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise if the user has cancelled."""
        mm.throw_exception_if_processing_interrupted()

    def note(self, text: str) -> None:
        """Tell the user something that is no reason to stop: in the log, and on the node behind the numbers."""
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
        due = now - self._shown >= PREVIEW_SECONDS
        if due:
            self._shown = now
        self._update(_picture(frame) if due else None)

    def finish(self) -> None:
        """Show the end."""
        self._passes = (0, None)
        self._num_frames = self._frames_done
        self._told = float("-inf")
        self._update()

    def _update(self, preview: Image.Image | None = None) -> None:
        done, total = self._passes
        if total is None:
            done, total = self._frames_done, self._num_frames or self._frames_done + 1
        self._bar.update_absolute(done, total, ("JPEG", preview, PREVIEW_PX) if preview else None)
        now = time.monotonic()
        if now - self._told >= TEXT_SECONDS:
            self._told = now
            self._tell(self._describe(now - self._began))

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

    def _tell(self, text: str) -> None:
        server = getattr(PromptServer, "instance", None)
        if server is not None and self._node_id is not None:
            server.send_progress_text(text, self._node_id, server.client_id)


def _picture(frame: Tensor) -> Image.Image:
    """Return a frame as a picture of about the preview's size."""
    every = max(1, max(frame.shape[-2:]) // PREVIEW_PX)
    small = frame[:, ::every, ::every].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(small.movedim(0, -1).contiguous().cpu().numpy())
