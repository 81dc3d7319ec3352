"""Networks in a row: enlarge, then interpolate; interpolate twice for four times the frames.

A chain is a head (one network, or a chain again) and a tail, which restores what the head gives. Scene cuts are found
once, in the source, and handed down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..errors import InputError
from ..models.cards import ModelCard
from ..restorer import Restorer
from .blending import Share, blend
from .cache import AnyCache, cached
from .progress import Check, Meter
from .runner import Link
from .validation import Sigma
from .window_plan import Plan, Window, clean_cuts


@dataclass(frozen=True)
class ChainWindow(Window):
    """A window of the tail, and what the head must restore for it. ``start`` and ``stop`` count source frames."""

    tail: Window
    """Its window, in frames that the head gives."""
    head: tuple[Window, ...]
    """The windows whose results it reads, in order."""


class ChainPlan(Plan):
    """The tail's windows, each with the windows of the head that it needs."""

    def __init__(self, head: Plan, tail: Plan, cuts: Sequence[int] = ()) -> None:
        """Join the plans of head and tail; ``cuts`` are those in the source."""
        self.head, self.tail, self.cuts = head, tail, cuts
        self.num_frames, self.num_frames_out = head.num_frames, tail.num_frames_out

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.tail)

    def windows_of(self, n_out: int) -> range:
        """Return the windows that have a share in output frame ``n_out``."""
        return self.tail.windows_of(n_out)

    def _window(self, k: int) -> ChainWindow:
        tail = self.tail[k]
        head = self.head[self.head.windows_of(tail.start).start : self.head.windows_of(tail.stop - 1).stop]
        start, stop = min(window.start for window in head), max(window.stop for window in head)
        cuts = tuple(self.cuts[bisect_right(self.cuts, start) : bisect_left(self.cuts, stop)])
        return ChainWindow(k, start, stop, cuts, tail.shares, (), tail, head)


class Chain(Restorer):
    """A restorer that hands the results of one to the next."""

    def __init__(self, head: Restorer, tail: Link, card: ModelCard | None = None) -> None:
        """Join two restorers.

        Args:
            head: Sees the source.
            tail: Sees what the head gives.
            card: Of the chain, if it has a name of its own.
        """
        self.head, self.tail = head, tail
        self.scale = head.scale * tail.scale
        self.frame_factor = head.frame_factor * tail.frame_factor
        self.needs_sigma = head.needs_sigma or tail.needs_sigma
        self.device, self.dtype = tail.device, tail.dtype
        self.card = card or _join_cards(head.card, tail.card, self.scale)

    @property
    def links(self) -> tuple[Link, ...]:
        """The networks, in order."""
        return (*self.head.links, self.tail)

    def plan(self, num_frames: int, height: int, width: int, *, cuts: Iterable[int] = ()) -> ChainPlan:
        """Return the windows of a clip; see ``Restorer.plan``."""
        cuts = clean_cuts(cuts)
        head = self.head.plan(num_frames, height, width, cuts=cuts)
        factor = self.head.frame_factor
        tail = self.tail.make_plan(head.num_frames_out, [factor * c for c in cuts], hold=factor)
        return ChainPlan(head, tail, cuts)

    def run_window(
        self,
        window: Window,
        frames: Tensor,
        sigma_255: Sigma | None,
        cache: AnyCache,
        gauges: Sequence[Meter],
        check: Check | None,
    ) -> list[Share]:
        """Restore what the head has to do for the window, unless it is cached, then the window itself."""
        if not isinstance(window, ChainWindow):
            raise InputError(
                f"window {window.index} is not of a plan of {self.name}, which is a chain; use its own plan"
            )
        shares: defaultdict[int, list[Share]] = defaultdict(list)
        own, inner = (None, None) if cache is None else (cache.scope("head"), cache.scope("tail"))
        for earlier in window.head:
            part = frames[earlier.start - window.start : earlier.stop - window.start]
            run = partial(self.head.run_window, earlier, part, sigma_255, own, gauges[:-1], check)
            for share in cached(cache, ("window", earlier, part.shape), run):
                shares[share.index].append(share)
        middle = torch.stack([blend(shares[n]) for n in range(window.tail.start, window.tail.stop)])
        return self.tail.run_window(window.tail, middle, sigma_255, inner, gauges[-1:], check)

    def estimate_bytes(self, num_frames: int, height: int, width: int) -> int:
        """Return the largest of the networks' peaks; they work one after another."""
        peaks = []
        for link in self.links:
            peaks.append(link.estimate_bytes(num_frames, height, width))
            num_frames, height, width = link.frame_factor * num_frames, link.scale * height, link.scale * width
        return max(peaks)


def _join_cards(head: ModelCard, tail: ModelCard, scale: int) -> ModelCard:
    """Return a card for what two models do one after the other."""
    licences = dict.fromkeys((head.licence, tail.licence))
    return replace(
        head,
        name=f"{head.name}+{tail.name}",
        scale=scale,
        licence=" AND ".join(licences),
        description=f"{head.description}; then: {tail.description}",
    )
