"""Cache of computed frames in Python: VapourSynth empties all of its own caches when it is short of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import vapoursynth as vs


class FrameCache:
    """The last computed frames. Threads may share it.

    With many requests in flight, windows are restored out of order. The cache evicts the oldest window whose output
    frames have all been delivered, so that a window that was restored early is still there when its frames are
    requested. If none is delivered, it evicts the oldest: requests in flight then span more windows than the cache
    holds.
    """

    def __init__(self, max_frames: int) -> None:
        self._max_frames, self._lock = max_frames, threading.Lock()
        self._frames: dict[int, vs.VideoFrame] = {}  # in order of insertion
        self._undelivered: dict[int, set[int]] = {}  # by frame: its output frames that were not requested yet

    def get(self, n: int) -> vs.VideoFrame | None:
        """Return frame n, None if it is not cached."""
        with self._lock:
            return self._frames.get(n)

    def put(self, n: int, frame: vs.VideoFrame, outputs: Iterable[int] = ()) -> vs.VideoFrame:
        """Cache frame n, and return it.

        Args:
            n: Its number.
            frame: The frame.
            outputs: Numbers of the output frames that are read from it; see ``mark_delivered``.
        """
        with self._lock:
            self._frames[n], self._undelivered[n] = frame, set(outputs)
            while len(self._frames) > self._max_frames:
                # The first that is delivered, or is far from where the clip is read now; else the oldest.
                k = max(self._frames, key=lambda k: not self._undelivered[k] or abs(k - n) > 2 * self._max_frames)
                del self._frames[k], self._undelivered[k]
        return frame

    def mark_delivered(self, n: int) -> None:
        """Record that output frame n was read from all cached frames that contribute to it."""
        with self._lock:
            for outputs in self._undelivered.values():
                outputs.discard(n)

    def clear(self) -> None:
        """Remove all frames."""
        with self._lock:
            self._frames.clear()
            self._undelivered.clear()
