"""The three doors to the engine: a whole clip, a stream of frames, and window by window. All give the same frames.

Whole clips go through the stream door. A stream is a row of generators, one for each network, handing on marked frames;
each runs the same window function that the third door offers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .analysis.scenes import find_cuts
from .errors import InputError
from .inference.blending import Share
from .inference.cache import DEFAULT_CACHE_BYTES, AnyCache, Cache
from .inference.progress import Check, Meter, OnStep, meters
from .inference.streaming import Arrivals, Marked
from .inference.validation import Cuts, Sigma, check_clip, check_count, check_sigma
from .inference.window_plan import Plan, Window, clean_cuts

if TYPE_CHECKING:
    from .inference.runner import Link
    from .models.cards import ModelCard


class Restorer(ABC):
    """Restores clips with one network (``Link``) or with several in a row (``Chain``); made by ``load_restorer``.

    Frames are RGB, nominally in [0, 1], of any floating dtype and on any device; values outside are kept, not clamped.
    For models that remove noise of a known strength, frames may carry it as a fourth channel (sigma / 255) instead of
    ``sigma_255``. Results are float32 on the device of the frames, not clamped either. They depend on the clip and the
    settings alone: on neither the door nor the order of calls.

    Threads may share a restorer, but each call needs its memory; front ends that have little of it take turns.
    """

    card: ModelCard
    """What is known about the model."""
    scale: int
    """Output height over input height."""
    frame_factor: int
    """Output frames over input frames."""
    needs_sigma: bool
    """Whether it must be told the strength of the noise."""
    device: torch.device
    """Where the network is."""
    dtype: torch.dtype
    """What it computes in."""

    @property
    @abstractmethod
    def links(self) -> tuple[Link, ...]:
        """The networks, in order."""

    @property
    def name(self) -> str:
        """The model's name, for messages."""
        return self.card.name

    def restore(
        self,
        frames: Tensor,
        *,
        sigma_255: Sigma | None = None,
        cuts: Cuts = "auto",
        on_step: OnStep | None = None,
        check: Check | None = None,
    ) -> Tensor:
        """Restore a whole clip.

        Args:
            frames: (T, C, H, W); every size from 1 on.
            sigma_255: Standard deviation of the noise, 0 to 50 in 8-bit units, for models that ask for it. "auto"
                estimates it from the frames of each scene that a window sees, and tells the log.
            cuts: First frames of scenes; "auto" finds them, "off" takes the clip for one scene.
            on_step: Called after every network pass with (passes done, passes in all).
            check: Called before every network pass and every block in it; raises to cancel.

        Returns:
            (frame_factor * T, 3, scale * H, scale * W) float32.

        Raises:
            InputError: If an argument is wrong; nothing has been computed then.
            NumericsError: If a result is not finite.
        """
        clip = check_clip(frames, self.name, self._channels)
        known = tuple(find_cuts(clip)) if _is_auto(cuts) else _known_cuts(cuts)
        results = self._stream(clip, len(clip), sigma_255, known, on_step, check)
        first = next(results)
        restored = first.new_empty(self.frame_factor * len(clip), *first.shape)
        restored[0] = first
        for n, frame in enumerate(results, start=1):
            restored[n] = frame
        return restored

    def stream(
        self,
        frames: Iterable[Tensor],
        *,
        num_frames: int | None = None,
        sigma_255: Sigma | None = None,
        cuts: Cuts = "auto",
        on_step: OnStep | None = None,
        check: Check | None = None,
    ) -> Iterator[Tensor]:
        """Restore frames as they come; each is handed out as soon as no later window can change it.

        Holds about two windows of frames, however long the stream is. Frames that are out are safe: what goes wrong
        with a later one is raised when its turn comes. Closing the iterator lets go of everything.

        Args:
            frames: (C, H, W) each, all of one size.
            num_frames: How many they are, if that is known; lets ``on_step`` tell the passes in all.
            sigma_255: As in ``restore``.
            cuts: As in ``restore``.
            on_step: As in ``restore``; passes in all are None without ``num_frames``, and follow the cuts found.
            check: As in ``restore``.

        Returns:
            Iterator of frames, (3, scale * H, scale * W) float32.

        Raises:
            InputError: If an argument or a frame is wrong; after the last frame, if they are not ``num_frames``.
            NumericsError: If a result is not finite.
        """
        if num_frames is not None:
            check_count("num_frames", num_frames, 1)
        if sigma_255 is not None:
            self._check_sigma(sigma_255, channels=3)
        known = None if _is_auto(cuts) else _known_cuts(cuts)
        return self._stream(frames, num_frames, sigma_255, known, on_step, check)

    @abstractmethod
    def plan(self, num_frames: int, height: int, width: int, *, cuts: Iterable[int] = ()) -> Plan:
        """Return the windows of a clip, for ``restore_window``.

        Args:
            num_frames: Length of the clip.
            height: Of its frames, pixels.
            width: Likewise.
            cuts: First frames of scenes. A window depends only on cuts c with start <= c <= stop.
        """

    def restore_window(
        self,
        window: Window,
        frames: Tensor,
        *,
        sigma_255: Sigma | None = None,
        cache: AnyCache = None,
        on_step: OnStep | None = None,
        check: Check | None = None,
    ) -> list[Share]:
        """Restore one window; windows may come in any order.

        Args:
            window: Of a plan for this clip.
            frames: The source frames [window.start, window.stop), (T, C, H, W).
            sigma_255: As in ``restore``.
            cache: From ``new_cache``, for this clip; without one, everything is computed anew.
            on_step: As in ``restore``, for this window; for chains, the passes in all are None.
            check: As in ``restore``.

        Returns:
            What the window has to say about each of ``window.shares``; ``blend`` makes frames of it.
        """
        clip = check_clip(frames, self.name, self._channels, first=window.start)
        if len(clip) != window.stop - window.start:
            raise InputError(
                f"frames holds {len(clip)} frames, but window {window.index} reads the {window.stop - window.start} "
                f"source frames [{window.start}, {window.stop})"
            )
        self._check_sigma(sigma_255, clip.shape[1])
        gauges = meters(on_step, len(self.links))
        if len(gauges) == 1:
            gauges[0].left = len(window.pieces) * self.links[0].num_tiles(clip.shape[-2], clip.shape[-1])
        return self.run_window(window, clip, sigma_255, cache, gauges, check)

    @abstractmethod
    def run_window(
        self,
        window: Window,
        frames: Tensor,
        sigma_255: Sigma | None,
        cache: AnyCache,
        gauges: Sequence[Meter],
        check: Check | None,
    ) -> list[Share]:
        """Restore one window of frames that are checked already; ``gauges`` count the passes of each network."""

    @abstractmethod
    def estimate_bytes(self, num_frames: int, height: int, width: int) -> int:
        """Return the peak memory on the device for such a clip, in bytes, with its tiles but without weights."""

    def new_cache(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> Cache:
        """Return an empty cache for the windows of one clip, for ``restore_window``."""
        return Cache(max_bytes)

    @property
    def _channels(self) -> int:
        """Channels that frames may have at the most."""
        return 4 if self.links[0].needs_sigma else 3

    def _check_sigma(self, sigma_255: Sigma | None, channels: int) -> None:
        """Raise InputError unless every network that asks for the noise level is told it, once."""
        if sigma_255 is not None and not self.needs_sigma:
            check_sigma(self.name, False, sigma_255, has_map=False)
        for i, link in enumerate(self.links):
            given = sigma_255 if link.needs_sigma else None
            check_sigma(link.name, link.needs_sigma, given, has_map=channels == 4 and i == 0)

    def _stream(
        self,
        frames: Iterable[Tensor],
        num_frames: int | None,
        sigma_255: Sigma | None,
        cuts: tuple[int, ...] | None,
        on_step: OnStep | None,
        check: Check | None,
    ) -> Iterator[Tensor]:
        arrivals = Arrivals(frames, name=self.name, channels=self._channels, num_frames=num_frames, cuts=cuts)
        channels, height, width = arrivals.shape
        self._check_sigma(sigma_255, channels)
        marked: Iterator[Marked] = arrivals
        hold, count = 1, num_frames
        for link, meter in zip(self.links, meters(on_step, len(self.links)), strict=True):
            if count is not None:
                meter.left = link.num_passes(count, height, width, [hold * c for c in cuts or ()], hold)
            marked = link.stream_marked(
                marked,
                num_frames=None if cuts is not None else count,
                hold=hold,
                sigma_255=sigma_255,
                meter=meter,
                check=check,
            )
            height, width, hold = link.scale * height, link.scale * width, link.frame_factor * hold
            count = None if count is None else link.frame_factor * count
        del frames
        for frame, _ in marked:
            yield frame
        arrivals.check_count()


def _is_auto(cuts: Cuts) -> bool:
    return isinstance(cuts, str) and cuts == "auto"


def _known_cuts(cuts: Cuts) -> tuple[int, ...]:
    if isinstance(cuts, str):
        if cuts != "off":
            raise InputError(f"cuts ({cuts!r}) must be auto, off, or the first frames of scenes")
        return ()
    return clean_cuts(cuts)
