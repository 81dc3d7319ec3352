"""Window plan: which frames the network sees together, and the weight of each result. No tensors.

A clip is covered by windows on a fixed grid, ``stride = window - overlap`` frames apart. Where two windows overlap,
their results are cross-faded. Ten frames, window 6, overlap 2::

    frame       0 1 2 3 4 5 6 7 8 9
    window 0    1 1 1 1 w w              w = 2/3, 1/3 (and 1/3, 2/3 in window 1)
    window 1            w w 1 1 1 1

The last window starts earlier so that it has at least ``min_frames`` frames; the frames that it outputs do not change.
A scene cut (the first frame of a scene) splits a window into segments, which run alone. A cut inside a cross-fade
replaces it: frames before the last such cut are taken from the earlier window, the others from the later one.

All of it is arithmetic on frame numbers: a plan of a hundred million frames costs as much as one of ten.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import overload

from ..errors import InputError


@dataclass(frozen=True)
class Window:
    """Frames that are read together, and their output. Frame numbers count from the start of the clip."""

    index: int
    """Position in the plan."""
    start: int
    """First source frame that the window reads."""
    stop: int
    """End of the source frames that the window reads, exclusive."""
    cuts: tuple[int, ...]
    """Cuts c with start < c < stop."""
    output_weights: tuple[tuple[int, float], ...]
    """(output frame, weight) of each frame that the window contributes to; weight 1 where no other window does."""
    segments: tuple[range, ...]
    """Source frames of each run of the network: the scenes within the window that contribute to the output."""


class Plan(Sequence[Window], ABC):
    """The windows of a clip, in order, computed on access."""

    num_frames: int
    """Input frames."""
    num_frames_out: int
    """Output frames."""

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Window, ...]: ...
    def __getitem__(self, index: int | slice) -> Window | tuple[Window, ...]:
        """Return window ``index``; a slice gives a tuple."""
        if isinstance(index, slice):
            return tuple(self._window(k) for k in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of a plan of {len(self)} windows")
        return self._window(index % len(self))

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of windows."""

    @abstractmethod
    def windows_for_frame(self, n_out: int) -> range:
        """Return the windows that contribute to output frame ``n_out``."""

    @abstractmethod
    def _window(self, k: int) -> Window: ...

    def _check_output(self, n_out: int) -> None:
        if not 0 <= n_out < self.num_frames_out:
            raise IndexError(f"frame {n_out} of a result of {self.num_frames_out} frames")


class StreamablePlan(Plan):
    """A plan for one network, which can be extended while frames still arrive."""

    @abstractmethod
    def num_passes(self, first: int = 0) -> int:
        """Return the number of network passes for the windows from ``first`` on, for whole frames."""

    @abstractmethod
    def is_final(self, k: int) -> bool:
        """Return whether window k cannot change, however many frames follow the ``num_frames`` known so far."""

    @abstractmethod
    def first_frame_needed(self, k: int) -> int:
        """Return the first source frame that windows from k on may read, however many frames follow."""

    @abstractmethod
    def first_window(self, n_out: int) -> int:
        """Return the first window that contributes to output frames from ``n_out`` on, however long the clip is."""

    @abstractmethod
    def first_frame_read(self, k: int) -> int:
        """Return the first source frame that windows from k on read, however long the clip is."""


class CrossfadePlan(StreamablePlan):
    """Overlapping windows with cross-fades, for networks that restore every frame of their input."""

    def __init__(
        self, num_frames: int, window: int, overlap: int, cuts: Sequence[int] = (), *, min_frames: int | None = None
    ) -> None:
        """Cover a clip with windows.

        Args:
            num_frames: Length of the clip, at least 1.
            window: Frames in a window, at least 1.
            overlap: Frames that two windows share, at most half of ``window``.
            cuts: First frames of scenes, rising; those outside the clip change nothing.
            min_frames: Minimum length of the last window, if the clip has as many frames; None for ``window``, so
                that all windows have one length.
        """
        check_window(window, overlap)
        self.num_frames = self.num_frames_out = num_frames
        self.window, self.overlap, self.stride = window, overlap, window - overlap
        self.min_frames = window if min_frames is None else min(min_frames, window)
        self.cuts = cuts
        self._count = max(-(-(num_frames - overlap) // self.stride), 1)

    def __len__(self) -> int:
        """Return the number of windows."""
        return self._count

    def windows_for_frame(self, n_out: int) -> range:
        """Return the one or two windows that contribute to frame ``n_out``."""
        self._check_output(n_out)
        k = min(n_out // self.stride, len(self) - 1)
        weight = self._fade_in_weight(k, n_out)
        return range(k - (weight < 1), k + (weight > 0))

    def num_passes(self, first: int = 0) -> int:
        """Return the passes of the windows from ``first`` on: one each, except for windows near a cut."""
        last = len(self) - 1
        near_cuts = {last}
        for c in self.cuts[bisect_left(self.cuts, first * self.stride) :]:
            k = min(c // self.stride, last)
            near_cuts.update(range(max(k - 2, 0), min(k + 1, last) + 1))
        extra = [len(self._window(k).segments) - 1 for k in near_cuts if k >= first]
        return max(len(self) - first, 0) + sum(extra)

    def is_final(self, k: int) -> bool:
        """Return whether a frame after window k is known: it may be a cut, and k is then not the last window."""
        return self.num_frames > k * self.stride + self.window

    def first_frame_needed(self, k: int) -> int:
        """Return the start of window k; the last window may start ``min_frames`` frames before the end."""
        return max(min(k * self.stride, self.num_frames - self.min_frames), 0)

    def first_window(self, n_out: int) -> int:
        """Return the window in which frame ``n_out`` lies after the cross-fade, or that whose end it fades out with."""
        return max((n_out - self.overlap) // self.stride, 0)

    def first_frame_read(self, k: int) -> int:
        """Return the start of window k in the shortest clip that has it."""
        shortest = k * self.stride + self.overlap + 1
        return max(min(k * self.stride, shortest - self.min_frames), 0)

    def _window(self, k: int) -> Window:
        start = self.first_frame_needed(k)
        stop = min(k * self.stride + self.window, self.num_frames)
        weights = ((n, self._weight(k, n)) for n in range(k * self.stride, min(k * self.stride + self.window, stop)))
        output_weights = tuple((n, weight) for n, weight in weights if weight > 0)
        cuts = tuple(self.cuts[bisect_right(self.cuts, start) : bisect_left(self.cuts, stop)])
        scenes = (range(a, b) for a, b in pairwise((start, *cuts, stop)))
        segments = tuple(scene for scene in scenes if any(n in scene for n, _ in output_weights))
        return Window(k, start, stop, cuts, output_weights, segments)

    def _weight(self, k: int, n: int) -> float:
        """Return the weight of window k at frame n."""
        return min(self._fade_in_weight(k, n), 1 - self._fade_in_weight(k + 1, n))

    def _fade_in_weight(self, k: int, n: int) -> float:
        """Return the total weight of windows k, k + 1, ... at frame n; the others share the rest."""
        if k == 0:
            return 1.0
        begin = k * self.stride
        if k == len(self) or n < begin:
            return 0.0
        end = begin + self.overlap
        if n >= end:
            return 1.0
        at = bisect_right(self.cuts, end)
        if at and self.cuts[at - 1] >= begin:
            return float(n >= self.cuts[at - 1])
        return (n - begin + 1) / (self.overlap + 1)


class InterpolationPlan(StreamablePlan):
    """Twice the frames, for networks that interpolate the frame between two from four neighbours.

    Window k outputs frame 2k, the source frame k itself, and frame 2k+1, between k and k+1. It reads [k-1, k+3) within
    the scene. The last frame of a scene has no successor, so it is repeated to keep the duration: a scene of T frames
    becomes one of 2T frames.
    """

    def __init__(self, num_frames: int, cuts: Sequence[int] = (), num_held_frames: int = 1) -> None:
        """Cover a clip with windows.

        Args:
            num_frames: Length of the clip, at least 1.
            cuts: First frames of scenes, rising; those outside the clip change nothing.
            num_held_frames: Equal frames at the end of every scene: 2 if the clip is itself interpolated, and so on.
        """
        self.num_frames, self.num_frames_out = num_frames, 2 * num_frames
        self.cuts, self.num_held_frames = cuts, num_held_frames

    def __len__(self) -> int:
        """Return the number of windows, one for each source frame."""
        return self.num_frames

    def windows_for_frame(self, n_out: int) -> range:
        """Return the one window that outputs frame ``n_out``."""
        self._check_output(n_out)
        return range(n_out // 2, n_out // 2 + 1)

    def num_passes(self, first: int = 0) -> int:
        """Return the passes of the windows from ``first`` on: one for each frame that is not held."""
        ends = [c for c in self.cuts if first < c < self.num_frames] + [self.num_frames]
        return sum(max(end - self.num_held_frames - start, 0) for start, end in pairwise([first, *ends]))

    def is_final(self, k: int) -> bool:
        """Return whether the frames are known that window k may read, or that decide whether frame k is held."""
        return self.num_frames > k + max(2, self.num_held_frames)

    def first_frame_needed(self, k: int) -> int:
        """Return the frame before k."""
        return max(k - 1, 0)

    def first_window(self, n_out: int) -> int:
        """Return the one window that outputs frame ``n_out``."""
        return n_out // 2

    def first_frame_read(self, k: int) -> int:
        """Return the frame before k."""
        return max(k - 1, 0)

    def _window(self, k: int) -> Window:
        at = bisect_right(self.cuts, k)
        starts_scene = at > 0 and self.cuts[at - 1] == k
        end = min(self.cuts[at] if at < len(self.cuts) else self.num_frames, self.num_frames)
        is_held = k >= end - self.num_held_frames
        start = k if is_held or starts_scene else self.first_frame_needed(k)
        stop = k + 1 if is_held else min(k + 3, end)
        segments = () if is_held else (range(start, stop),)
        return Window(k, start, stop, (), ((2 * k, 1.0), (2 * k + 1, 1.0)), segments)


def check_window(window_frames: int, overlap_frames: int) -> None:
    """Raise InputError unless windows of this length can overlap so much."""
    if window_frames < 1:
        raise InputError(f"window_frames ({window_frames}) must be at least 1 frame")
    if not 0 <= overlap_frames <= window_frames // 2:
        raise InputError(
            f"overlap_frames ({overlap_frames}) must be between 0 and half of window_frames ({window_frames}), which "
            f"is {window_frames // 2} frames"
        )


def clean_cuts(cuts: Iterable[int]) -> tuple[int, ...]:
    """Return cuts sorted and unique, without frame 0, which always begins a scene.

    Raises:
        InputError: If one is not a frame number.
    """
    if isinstance(cuts, str):
        raise InputError(f"cuts ({cuts!r}) must be numbers of frames here; find_cuts(frames) looks for them")
    numbers = set()
    for cut in cuts:
        try:
            numbers.add(index(cut))
        except TypeError:
            raise InputError(f"cuts holds {cut!r}; each must be a whole number, the first frame of a scene") from None
    if numbers and min(numbers) < 0:
        raise InputError(f"cuts holds {min(numbers)}; frames are counted from 0")
    return tuple(sorted(numbers - {0}))
