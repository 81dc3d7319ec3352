"""Which frames are seen together, and how much each result counts: integers and weights only, no tensors.

A clip is covered by windows on a fixed grid, ``stride = window - overlap`` frames apart. Where two windows overlap,
their results are cross-faded. Ten frames, window 6, overlap 2::

    frame       0 1 2 3 4 5 6 7 8 9
    window 0    1 1 1 1 w w              w = 2/3, 1/3 (and 1/3, 2/3 in window 1)
    window 1            w w 1 1 1 1

The last window reads further back instead of ending early, to as many frames as the others have or to ``least``; what
it decides stays the same. A scene cut (the first frame of a scene) splits a window, and each piece runs alone. A cut in
a cross-fade replaces it: frames before the last such cut belong to the earlier window, the others to the later one.

Everything is arithmetic on the frame number: a plan of a hundred million frames costs as much as one of ten.
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
    """Frames that are read together, and what becomes of them. All frame numbers count from the start of the clip."""

    index: int
    """Its place in the plan."""
    start: int
    """First source frame that it reads."""
    stop: int
    """End of the source frames that it reads."""
    cuts: tuple[int, ...]
    """Cuts c with start < c < stop."""
    shares: tuple[tuple[int, float], ...]
    """(output frame, weight) of each frame that it decides, alone (weight 1) or with a neighbouring window."""
    pieces: tuple[range, ...]
    """Source frames of each run of the network: the scenes within the window that have a share."""


class Plan(Sequence[Window], ABC):
    """The windows of a clip, in order, made when they are asked for."""

    num_frames: int
    """Frames that go in."""
    num_frames_out: int
    """Frames that come out."""

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
    def windows_of(self, n_out: int) -> range:
        """Return the windows that have a share in output frame ``n_out``."""

    @abstractmethod
    def _window(self, k: int) -> Window: ...

    def _check_output(self, n_out: int) -> None:
        if not 0 <= n_out < self.num_frames_out:
            raise IndexError(f"frame {n_out} of a result of {self.num_frames_out} frames")


class LinkPlan(Plan):
    """A plan for one network, which can grow while frames still come in."""

    @abstractmethod
    def num_pieces(self, first: int = 0) -> int:
        """Return how often the network runs for the windows from ``first`` on, tiles not counted."""

    @abstractmethod
    def is_settled(self, k: int) -> bool:
        """Return whether window k stays as it is, however many frames follow the ``num_frames`` known so far."""

    @abstractmethod
    def needed_from(self, k: int) -> int:
        """Return the first source frame that windows from k on may read, however many frames follow."""


class FadedPlan(LinkPlan):
    """Overlapping windows, cross-faded: for networks that restore every frame that they see."""

    def __init__(
        self, num_frames: int, window: int, overlap: int, cuts: Sequence[int] = (), *, least: int | None = None
    ) -> None:
        """Lay windows over a clip.

        Args:
            num_frames: Length of the clip, at least 1.
            window: Frames in a window, at least 1.
            overlap: Frames that two windows share, at most half of ``window``.
            cuts: First frames of scenes, rising; those outside the clip change nothing.
            least: Frames that the last window reads at least, if there are as many; None for ``window``, so that all
                windows have one length.
        """
        check_window(window, overlap)
        self.num_frames = self.num_frames_out = num_frames
        self.window, self.overlap, self.stride = window, overlap, window - overlap
        self.least = window if least is None else min(least, window)
        self.cuts = cuts
        self._count = max(-(-(num_frames - overlap) // self.stride), 1)

    def __len__(self) -> int:
        """Return the number of windows."""
        return self._count

    def windows_of(self, n_out: int) -> range:
        """Return the one or two windows that have a share in frame ``n_out``."""
        self._check_output(n_out)
        k = min(n_out // self.stride, len(self) - 1)
        rising = self._rising(k, n_out)
        return range(k - (rising < 1), k + (rising > 0))

    def num_pieces(self, first: int = 0) -> int:
        """Return the runs of the windows from ``first`` on: one each, but for those near a cut."""
        last = len(self) - 1
        touched = {last}
        for c in self.cuts[bisect_left(self.cuts, first * self.stride) :]:
            k = min(c // self.stride, last)
            touched.update(range(max(k - 2, 0), min(k + 1, last) + 1))
        changed = [len(self._window(k).pieces) - 1 for k in touched if k >= first]
        return max(len(self) - first, 0) + sum(changed)

    def is_settled(self, k: int) -> bool:
        """Return whether a frame behind window k is known: it may be a cut, and it tells that k is not the last."""
        return self.num_frames > k * self.stride + self.window

    def needed_from(self, k: int) -> int:
        """Return where window k starts; the last window may reach back to ``least`` frames before the end."""
        return max(min(k * self.stride, self.num_frames - self.least), 0)

    def _window(self, k: int) -> Window:
        start = self.needed_from(k)
        stop = min(k * self.stride + self.window, self.num_frames)
        weights = ((n, self._weight(k, n)) for n in range(k * self.stride, min(k * self.stride + self.window, stop)))
        shares = tuple((n, weight) for n, weight in weights if weight > 0)
        cuts = tuple(self.cuts[bisect_right(self.cuts, start) : bisect_left(self.cuts, stop)])
        scenes = (range(a, b) for a, b in pairwise((start, *cuts, stop)))
        pieces = tuple(scene for scene in scenes if any(n in scene for n, _ in shares))
        return Window(k, start, stop, cuts, shares, pieces)

    def _weight(self, k: int, n: int) -> float:
        """Weight of window k at frame n of its place on the grid."""
        return min(self._rising(k, n), 1 - self._rising(k + 1, n))

    def _rising(self, k: int, n: int) -> float:
        """Weight of windows from k on at frame n, against those before."""
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


class MidpointPlan(LinkPlan):
    """Twice the frames: for networks that make the frame between two from four neighbours.

    Window k gives output 2k, the source frame k itself, and output 2k+1, the frame between k and k+1. It reads
    [k-1, k+3), as far as the scene goes. Behind the last frame of a scene there is nothing to meet: it is held, so
    that durations stay (and a scene of T frames becomes one of 2T).
    """

    def __init__(self, num_frames: int, cuts: Sequence[int] = (), hold: int = 1) -> None:
        """Lay windows over a clip.

        Args:
            num_frames: Length of the clip, at least 1.
            cuts: First frames of scenes, rising; those outside the clip change nothing.
            hold: Equal frames at the end of every scene: 2 if the clip is itself a result of doubling, and so on.
        """
        self.num_frames, self.num_frames_out = num_frames, 2 * num_frames
        self.cuts, self.hold = cuts, hold

    def __len__(self) -> int:
        """Return the number of windows, one for each source frame."""
        return self.num_frames

    def windows_of(self, n_out: int) -> range:
        """Return the one window that makes frame ``n_out``."""
        self._check_output(n_out)
        return range(n_out // 2, n_out // 2 + 1)

    def num_pieces(self, first: int = 0) -> int:
        """Return the runs of the windows from ``first`` on: one for each frame that is not held."""
        ends = [c for c in self.cuts if first < c < self.num_frames] + [self.num_frames]
        return sum(max(end - self.hold - start, 0) for start, end in pairwise([first, *ends]))

    def is_settled(self, k: int) -> bool:
        """Return whether the frames that window k may read or be held for are known."""
        return self.num_frames > k + max(2, self.hold)

    def needed_from(self, k: int) -> int:
        """Return the frame before k."""
        return max(k - 1, 0)

    def _window(self, k: int) -> Window:
        at = bisect_right(self.cuts, k)
        begins = at > 0 and self.cuts[at - 1] == k
        end = min(self.cuts[at] if at < len(self.cuts) else self.num_frames, self.num_frames)
        held = k >= end - self.hold
        start = k if held or begins else self.needed_from(k)
        stop = k + 1 if held else min(k + 3, end)
        pieces = () if held else (range(start, stop),)
        return Window(k, start, stop, (), ((2 * k, 1.0), (2 * k + 1, 1.0)), pieces)


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
    """Return cuts sorted, each once, without frame 0, which begins a scene anyway.

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
