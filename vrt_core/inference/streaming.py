"""Streams: input frames with scene marks, and the loop that restores them as they arrive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, islice
from typing import NamedTuple

import torch
from torch import Tensor

from ..analysis.scenes import CutDetector
from ..errors import InputError
from .blending import WeightedFrame, blend
from .cache import Cache
from .progress import RunContext
from .runner import ModelRunner
from .validation import check_frame


class SceneFrame(NamedTuple):
    """A frame of a stream."""

    frame: Tensor
    """(C, H, W) float32."""
    starts_scene: bool
    """Whether it is the first frame of a scene."""


class InputFrames(Iterator[SceneFrame]):
    """Validated frames of a stream, float32, copied to main memory: the source may reuse its buffers.

    Attributes:
        shape: (C, H, W) of all frames.
        device: Device of the first frame in the source.
    """

    def __init__(
        self,
        frames: Iterable[Tensor],
        *,
        name: str,
        channels: int,
        num_frames: int | None,
        cuts: tuple[int, ...] | None,
        first: int = 0,
    ) -> None:
        """Read the first frame.

        Args:
            frames: (C, H, W) each.
            name: Name of the model, for errors.
            channels: Maximum number of channels that the model takes.
            num_frames: Expected number of frames of the clip, None if it is not known; no more than these are read.
            cuts: First frames of scenes; None to detect them.
            first: Number in the clip of the first frame that comes.
        """
        self._source = iter(frames)
        self._frames = islice(self._source, None if num_frames is None else max(num_frames - first, 0))
        self._name, self._channels, self._expected = name, channels, num_frames
        self._detect = CutDetector() if cuts is None else None
        self._cuts = frozenset(cuts or ())
        self._count = first
        frame = next(self._frames, None)
        if frame is None:
            raise InputError("frames is empty; there must be at least 1 frame")
        self._first: Tensor | None = check_frame(frame, first, name, channels)
        self.shape, self.device = self._first.shape, self._first.device

    def __next__(self) -> SceneFrame:
        """Return the next frame."""
        if self._first is not None:
            frame, self._first = self._first, None
        else:
            frame = check_frame(
                next(self._frames), self._count, self._name, self._channels, shape=self.shape, device=self.device
            )
        starts_scene = self._detect(frame) if self._detect else self._count in self._cuts
        self._count += 1
        return SceneFrame(frame.cpu(), starts_scene)  # checked and compared on its device, which is faster

    def check_count(self) -> None:
        """Raise InputError if the source had fewer or more frames than expected; call it at the end of the stream."""
        if self._expected is not None and self._count < self._expected:
            raise InputError(
                f"num_frames ({self._expected}) is more than the {self._count} frames that came; all were restored"
            )
        if self._expected is not None and next(self._source, None) is not None:
            raise InputError(
                f"num_frames ({self._expected}) is less than the frames that came; the others were not restored"
            )


def stream_frames(
    runner: ModelRunner,
    source: Iterator[SceneFrame],
    context: RunContext,
    *,
    num_frames: int | None,
    num_held_frames: int,
    first_output: int = 0,
) -> Iterator[SceneFrame]:
    """Restore the frames of a stream; each is returned as soon as no later window can change it.

    Holds about two windows of frames. The first frame of each scene in the output is marked, too.

    Args:
        runner: Runs the network.
        source: Validated frames of one size.
        context: Noise level, counter, cancellation; the stream has a cache of its own.
        num_frames: Length of the stream, if the counter is to follow cuts as they are detected; else None.
        num_held_frames: Equal frames at the end of every scene; see ``InterpolationPlan``.
        first_output: Number of the first frame to return. The source begins with the first frame that is read for it.
    """
    frames: dict[int, Tensor] = {}  # frames that the next windows may read
    cuts: list[int] = []  # cuts that matter to these windows
    pending: defaultdict[int, list[WeightedFrame]] = defaultdict(list)
    first_window, num_read = stream_start(runner, first_output)
    num_output = first_output
    for k in count(first_window):
        plan = runner.make_plan(num_read, cuts, num_held_frames)
        while not plan.is_final(k) and (item := next(source, None)) is not None:
            frames[num_read], starts_scene = item
            cuts += [num_read] if starts_scene else []
            num_read += 1
            plan = runner.make_plan(num_read, cuts, num_held_frames)
        if k >= len(plan):
            return
        window = plan[k]
        clip = torch.stack([frames[n] for n in range(window.start, window.stop)])  # (T, C, H, W)
        height, width = clip.shape[-2:]
        if context.cache is None:
            context = replace(context, cache=Cache(runner.stream_cache_bytes(height, width)))
        if num_frames is not None:
            num_passes = runner.make_plan(num_frames, cuts, num_held_frames).num_passes(k)
            context.counter.remaining = num_passes * runner.num_tiles(height, width)
        for part in runner.run_window(window, clip, context):
            if part.index >= first_output:
                pending[part.index].append(part)
        del clip
        while num_output < plan.num_frames_out and plan.windows_for_frame(num_output).stop <= k + 1:
            n, offset = divmod(num_output, runner.frame_factor)
            yield SceneFrame(blend(pending.pop(num_output)), offset == 0 and n in cuts)
            num_output += 1
        first = plan.first_frame_needed(k + 1)
        for n in [n for n in frames if n < first]:
            del frames[n]
        cuts = [c for c in cuts if c >= min(first, num_output // runner.frame_factor)]


def stream_start(runner: ModelRunner, first_output: int) -> tuple[int, int]:
    """Return the first window that runs for output frames from ``first_output`` on, and the first frame it reads."""
    plan = runner.make_plan(1, ())
    window = plan.first_window(first_output)
    return window, plan.first_frame_read(window)
