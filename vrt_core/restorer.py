"""The restorer: one network or several in a row over a clip, a stream of frames, or single windows.

All three entry points return the same frames. A clip is restored as a stream; a stream is a row of generators, one for
each network; each generator runs the same windows that ``restore_window`` runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from .analysis.scenes import find_cuts
from .errors import InputError
from .inference.blending import WeightedFrame, blend
from .inference.cache import DEFAULT_CACHE_BYTES, Cache
from .inference.chain_plan import ChainPlan, ChainWindow
from .inference.progress import OnStep, RaiseIfCancelled, RunContext, never_cancel, pass_counters
from .inference.runner import ModelRunner
from .inference.streaming import InputFrames, SceneFrame, stream_frames, stream_start
from .inference.tile_plan import TileSize
from .inference.validation import check_clip, check_no_strength, check_sigma, resolve_cuts
from .inference.window_plan import Plan, Window, clean_cuts
from .models.cards import ModelCard, chain_card
from .options import Cuts, RestoreOptions, Sigma, check_count


class Restorer:
    """Restores clips with one network or with several in a row; made by ``load_restorer``.

    Frames are RGB, nominally in [0, 1], of any floating dtype and on any device; values outside are not clamped. For
    models that remove noise of a known strength, frames may have the noise level (sigma / 255) as a fourth channel
    instead of ``sigma_255``. Results are float32 on the device of the frames, not clamped either; until they are
    returned, they and the frames wait in main memory. They depend on the clip and the settings alone, neither on the
    entry point nor on the order of calls.

    Threads may share a restorer. Each concurrent call needs the memory of a network pass.
    """

    def __init__(
        self, runners: Sequence[ModelRunner], card: ModelCard | None = None, options: RestoreOptions | None = None
    ) -> None:
        """Combine networks, in the order in which they run.

        Args:
            runners: At least one. A runner may occur several times: interpolation by 4 runs twice.
            card: Card of the whole, if it has a name of its own.
            options: Defaults of ``sigma_255`` and ``cuts``.

        Raises:
            InputError: If the options have a noise level that no network takes, or a strength for networks that only
                interpolate.
        """
        self.runners = tuple(runners)
        self.options = options or RestoreOptions()
        self.scale, self.frame_factor = 1, 1
        """Output height over input height; output frames over input frames."""
        for runner in self.runners:
            self.scale, self.frame_factor = self.scale * runner.scale, self.frame_factor * runner.frame_factor
        self.needs_sigma = any(runner.needs_sigma for runner in self.runners)
        """Whether a network needs the noise level."""
        self.device, self.dtype = self.runners[-1].device, self.runners[-1].dtype
        self.card = card or chain_card([runner.card for runner in self.runners], self.scale)
        if self.options.sigma_255 is not None and not self.needs_sigma:
            check_sigma(self.name, False, self.options.sigma_255, has_map=False)
        if all(runner.frame_factor > 1 for runner in self.runners):
            check_no_strength(self.name, self.options)

    @property
    def name(self) -> str:
        """The model's name, for messages."""
        return self.card.name

    def split(self) -> tuple[Restorer, ...]:
        """Return one restorer for each network, in order, for callers that run each as a step of their own."""
        return tuple(Restorer([runner]) for runner in self.runners)

    def restore(
        self,
        frames: Tensor,
        *,
        sigma_255: Sigma | None = None,
        cuts: Cuts | None = None,
        on_step: OnStep | None = None,
        check: RaiseIfCancelled | None = None,
    ) -> Tensor:
        """Restore a whole clip.

        Args:
            frames: (T, C, H, W); every size from 1 on.
            sigma_255: Standard deviation of the noise, 0 to 50 in 8-bit units, for models that need it. "auto"
                estimates it from the frames of each scene in a window and logs it. None: the options' value.
            cuts: First frames of scenes; "auto" detects them, "off" treats the clip as one scene. None: the options'
                value.
            on_step: Called after every network pass with (passes done, passes in all).
            check: Called before every network pass and every block of the network; raises to cancel.

        Returns:
            (frame_factor * T, 3, scale * H, scale * W) float32.

        Raises:
            InputError: If an argument is wrong; nothing has been computed then.
            NumericsError: If a result is not finite.
        """
        clip = check_clip(frames, self.name, self._max_channels)
        known = resolve_cuts(self.options.cuts if cuts is None else cuts)
        known = tuple(find_cuts(clip)) if known is None else known
        results = self._stream(clip, len(clip), self._sigma(sigma_255), known, on_step, check)
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
        cuts: Cuts | None = None,
        on_step: OnStep | None = None,
        check: RaiseIfCancelled | None = None,
        first_output: int = 0,
    ) -> Iterator[Tensor]:
        """Restore frames as they arrive; each is returned as soon as no later window can change it.

        Holds about two windows of frames, however long the stream is. An error with a later frame is raised in its
        turn, after the frames before it. Closing the iterator frees everything.

        Args:
            frames: (C, H, W) each, all of one size.
            num_frames: Length of the stream, if it is known; ``on_step`` then gets the number of all passes.
            sigma_255: As in ``restore``.
            cuts: As in ``restore``.
            on_step: As in ``restore``; the number of all passes is None without ``num_frames``, and follows the cuts
                that are detected.
            check: As in ``restore``.
            first_output: Number of the first frame to return, to continue a stream that ended before it. ``frames``
                then begin with frame ``first_frame_needed(first_output)`` of the clip; ``num_frames`` and ``cuts``
                count from the start of the clip as ever.

        Returns:
            Iterator of frames, (3, scale * H, scale * W) float32.

        Raises:
            InputError: If an argument or a frame is wrong; after the last frame, if they are not ``num_frames``.
            NumericsError: If a result is not finite.
        """
        if num_frames is not None:
            check_count("num_frames", num_frames, 1)
        sigma_255 = self._sigma(sigma_255)
        if sigma_255 is not None:
            self._check_sigma(sigma_255, channels=3)
        known = resolve_cuts(self.options.cuts if cuts is None else cuts)
        check_count("first_output", first_output, 0)
        return self._stream(frames, num_frames, sigma_255, known, on_step, check, first_output)

    def first_frame_needed(self, first_output: int) -> int:
        """Return the first frame of the clip that output frames from ``first_output`` on depend on, for ``stream``."""
        for runner in reversed(self.runners):
            first_output = stream_start(runner, first_output)[1]
        return first_output

    @property
    def stride_frames(self) -> int:
        """Output frames from one window to the next; streams that continue at a multiple of it repeat the fewest."""
        stride = 1
        for runner in self.runners:
            stride = runner.frame_factor * max(stride, runner.stride_frames)
        return stride

    def plan(
        self, num_frames: int, height: int, width: int, *, cuts: Iterable[int] = (), num_held_frames: int = 1
    ) -> Plan:
        """Return the windows of a clip, for ``restore_window``.

        Args:
            num_frames: Length of the clip.
            height: Height of its frames, pixels.
            width: Width of its frames, pixels.
            cuts: First frames of scenes. A window depends only on cuts c with start <= c <= stop.
            num_held_frames: Equal frames at the end of every scene, which are not interpolated: 2 if the clip is the
                result of an interpolation by 2, and so on.
        """
        check_count("num_frames", num_frames, 1)
        cuts = clean_cuts(cuts)
        plan: Plan | None = None
        factor = 1
        for runner in self.runners:
            runner.tile_size(height, width)  # checks the size, and logs the tiles
            held = factor * num_held_frames
            tail = runner.make_plan(factor * num_frames, [factor * c for c in cuts], held)
            plan = tail if plan is None else ChainPlan(plan, tail, cuts)
            factor, height, width = factor * runner.frame_factor, runner.scale * height, runner.scale * width
        assert plan is not None
        return plan

    def restore_window(
        self,
        window: Window,
        frames: Tensor,
        *,
        sigma_255: Sigma | None = None,
        cache: Cache | None = None,
        on_step: OnStep | None = None,
        check: RaiseIfCancelled | None = None,
    ) -> list[WeightedFrame]:
        """Restore one window; windows may come in any order.

        Args:
            window: A window of a plan for this clip.
            frames: The source frames [window.start, window.stop), (T, C, H, W).
            sigma_255: As in ``restore``.
            cache: From ``new_cache``, for this clip; without one, everything is computed anew.
            on_step: As in ``restore``, for this window; for several networks, the number of all passes is None.
            check: As in ``restore``.

        Returns:
            The window's contribution to each frame of ``window.output_weights``; ``blend`` sums them.
        """
        clip = check_clip(frames, self.name, self._max_channels, first=window.start).cpu()
        if len(clip) != window.stop - window.start:
            raise InputError(
                f"frames holds {len(clip)} frames, but window {window.index} reads the {window.stop - window.start} "
                f"source frames [{window.start}, {window.stop})"
            )
        sigma_255 = self._sigma(sigma_255)
        self._check_sigma(sigma_255, clip.shape[1])
        counters = pass_counters(on_step, len(self.runners))
        if len(counters) == 1:
            counters[0].remaining = len(window.segments) * self.runners[0].num_tiles(clip.shape[-2], clip.shape[-1])
        context = RunContext(sigma_255, cache, raise_if_cancelled=check or never_cancel)
        parts = self._run_window(window, clip, [replace(context, counter=counter) for counter in counters])
        return [replace(part, frame=part.frame.to(frames.device)) for part in parts]

    def tile_sizes(self, height: int, width: int) -> tuple[TileSize, ...]:
        """Return the tile size (height, width) of each network, in pixels, for clips of frames of this size."""
        return tuple(runner.tile_size(scale * height, scale * width) for runner, scale in self._scales())

    def use_tiles(self, height: int, width: int, sizes: Iterable[TileSize]) -> None:
        """Set the tile size of each network for clips of frames of this size, as ``tile_sizes`` once returned it.

        Results depend on the tiles a little, and automatic ones on the memory that is free.
        """
        for (runner, scale), size in zip(self._scales(), sizes, strict=True):
            runner.use_tile(scale * height, scale * width, size)

    def _scales(self) -> Iterator[tuple[ModelRunner, int]]:
        """Yield each network with the size of its frames over that of the clip's."""
        scale = 1
        for runner in self.runners:
            yield runner, scale
            scale *= runner.scale

    def estimate_bytes(self, num_frames: int, height: int, width: int) -> int:
        """Return the peak memory on the device for such a clip, in bytes, with its tiles but without weights."""
        peak = 0
        for runner in self.runners:  # networks run one after another
            peak = max(peak, runner.estimate_bytes(num_frames, height, width))
            num_frames, height, width = runner.frame_factor * num_frames, runner.scale * height, runner.scale * width
        return peak

    def new_cache(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> Cache:
        """Return an empty cache for the windows of one clip, for ``restore_window``."""
        return Cache(max_bytes)

    def _run_window(self, window: Window, frames: Tensor, contexts: Sequence[RunContext]) -> list[WeightedFrame]:
        """Run a window of the first ``len(contexts)`` networks: what the head has to restore, then the tail."""
        runner, context = self.runners[len(contexts) - 1], contexts[-1]
        if len(contexts) == 1:
            return runner.run_window(window, frames, context)
        if not isinstance(window, ChainWindow):
            raise InputError(
                f"window {window.index} is not of a plan of {self.name}, which is a chain; use its own plan"
            )
        heads = [replace(c, key_prefix=(*context.key_prefix, "head")) for c in contexts[:-1]]
        parts: defaultdict[int, list[WeightedFrame]] = defaultdict(list)
        for earlier in window.head:
            clip = frames[earlier.start - window.start : earlier.stop - window.start]
            run = partial(self._run_window, earlier, clip, heads)
            for part in context.cached(("window", earlier, clip.shape), run):
                parts[part.index].append(part)
        inputs = torch.stack([blend(parts[n]) for n in range(window.tail.start, window.tail.stop)])
        return runner.run_window(window.tail, inputs, replace(context, key_prefix=(*context.key_prefix, "tail")))

    def _stream(
        self,
        frames: Iterable[Tensor],
        num_frames: int | None,
        sigma_255: Sigma | None,
        cuts: tuple[int, ...] | None,
        on_step: OnStep | None,
        check: RaiseIfCancelled | None,
        first_output: int = 0,
    ) -> Iterator[Tensor]:
        outputs = [first_output]  # the first frame that each network returns
        for runner in reversed(self.runners[1:]):
            outputs.insert(0, stream_start(runner, outputs[0])[1])
        inputs = InputFrames(
            frames,
            name=self.name,
            channels=self._max_channels,
            num_frames=num_frames,
            cuts=cuts,
            first=stream_start(self.runners[0], outputs[0])[1],
        )
        channels, height, width = inputs.shape
        self._check_sigma(sigma_255, channels)
        stream: Iterator[SceneFrame] = inputs
        factor, length = 1, num_frames
        counters = pass_counters(on_step, len(self.runners))
        for runner, counter, first in zip(self.runners, counters, outputs, strict=True):
            if length is not None:
                plan = runner.make_plan(length, [factor * c for c in cuts or ()], factor)
                num_passes = plan.num_passes(stream_start(runner, first)[0])
                counter.remaining = num_passes * runner.num_tiles(height, width)
            context = RunContext(sigma_255, counter=counter, raise_if_cancelled=check or never_cancel)
            counted = length if cuts is None else None
            stream = stream_frames(
                runner, stream, context, num_frames=counted, num_held_frames=factor, first_output=first
            )
            height, width, factor = runner.scale * height, runner.scale * width, runner.frame_factor * factor
            length = None if length is None else runner.frame_factor * length
        del frames
        for frame, _ in stream:
            yield frame.to(inputs.device)
        inputs.check_count()

    @property
    def _max_channels(self) -> int:
        return 4 if self.runners[0].needs_sigma else 3

    def _sigma(self, sigma_255: Sigma | None) -> Sigma | None:
        return self.options.sigma_255 if sigma_255 is None else sigma_255

    def _check_sigma(self, sigma_255: Sigma | None, channels: int) -> None:
        """Raise InputError unless every network that needs the noise level gets it once."""
        if sigma_255 is not None and not self.needs_sigma:
            check_sigma(self.name, False, sigma_255, has_map=False)
        for i, runner in enumerate(self.runners):
            value = sigma_255 if runner.needs_sigma else None
            check_sigma(runner.name, runner.needs_sigma, value, has_map=channels == 4 and i == 0)
