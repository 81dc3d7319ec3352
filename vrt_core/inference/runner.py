"""One network as a restorer: how its windows are read, run, cached and streamed."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import count

import torch
from torch import Tensor

from ..analysis.noise import estimate_sigma
from ..errors import InputError
from ..models.cards import ModelCard
from ..network import VRT
from ..restorer import Restorer
from .blending import Share, blend
from .cache import AnyCache, Cache, cached
from .progress import Check, Meter
from .streaming import Marked
from .tile_executor import Engine
from .tile_plan import TileSize
from .validation import Sigma, check_count, mirror, with_noise_level
from .window_plan import FadedPlan, LinkPlan, MidpointPlan, Plan, Window, check_window, clean_cuts

_log = logging.getLogger(__name__)


class Link(Restorer):
    """One network. Also a link of a chain, whose frames may come from another network."""

    def __init__(self, network: VRT, card: ModelCard, engine: Engine) -> None:
        self.network, self.card, self._engine = network, card, engine
        self.scale = network.config.upscale
        self.needs_sigma = network.config.nonblind_denoising
        self.device, self.dtype = engine.device, engine.dtype
        if self.scale != card.scale:
            raise InputError(f"model {card.name} has scale {card.scale}, but its network enlarges x{self.scale}")
        if self.needs_sigma != (card.task == "denoise"):
            takes = "takes a noise level" if self.needs_sigma else "takes no noise level"
            raise InputError(f"model {card.name} is for the task {card.task!r}, but its network {takes}")

    @property
    def links(self) -> tuple[Link, ...]:
        """The network itself. No attribute: a cycle would keep the weights on the device until Python looks for one."""
        return (self,)

    def plan(self, num_frames: int, height: int, width: int, *, cuts: Iterable[int] = ()) -> Plan:
        """Return the windows of a clip; see ``Restorer.plan``."""
        check_count("num_frames", num_frames, 1)
        self.tile_for(height, width)  # checks the size, and says in the log what it will take
        return self.make_plan(num_frames, clean_cuts(cuts))

    def estimate_bytes(self, num_frames: int, height: int, width: int) -> int:
        """Return the peak memory; see ``Restorer.estimate_bytes``."""
        check_count("num_frames", num_frames, 1)
        return self._engine.estimate_bytes(num_frames, self._padded(height, width))

    def tile_for(self, height: int, width: int) -> TileSize:
        """Return the tile (height, width), in pixels, that frames of this size are cut into."""
        return self._engine.tiling(self._padded(height, width)).tile

    def num_tiles(self, height: int, width: int) -> int:
        """Return how many tiles a frame of this size is cut into."""
        return len(self._engine.tiling(self._padded(height, width)))

    def num_passes(self, num_frames: int, height: int, width: int, cuts: Sequence[int], hold: int) -> int:
        """Return how often the network runs for a clip."""
        return self.make_plan(num_frames, cuts, hold).num_pieces() * self.num_tiles(height, width)

    @abstractmethod
    def make_plan(self, num_frames: int, cuts: Sequence[int], hold: int = 1) -> LinkPlan:
        """Return the windows of a clip in which every ``hold`` last frames of a scene are the same frame."""

    def stream_marked(
        self,
        source: Iterator[Marked],
        *,
        num_frames: int | None,
        hold: int,
        sigma_255: Sigma | None,
        meter: Meter,
        check: Check | None,
    ) -> Iterator[Marked]:
        """Restore marked frames as they come; marks go to the first frames of the scenes that come out.

        Args:
            source: Checked frames of one size.
            num_frames: How many they are, if the meter is to learn of cuts as they are found.
            hold: As in ``make_plan``.
            sigma_255: Noise level, "auto", or None.
            meter: Counts the passes.
            check: Raises to cancel.
        """
        frames: dict[int, Tensor] = {}  # those that the next windows may read
        cuts: list[int] = []  # those that matter to them
        pending: defaultdict[int, list[Share]] = defaultdict(list)
        arrived = done = 0
        cache: Cache | None = None
        for k in count():
            plan = self.make_plan(arrived, cuts, hold)
            while not plan.is_settled(k) and (item := next(source, None)) is not None:
                frames[arrived], begins = item
                cuts += [arrived] if begins else []
                arrived += 1
                plan = self.make_plan(arrived, cuts, hold)
            if k >= len(plan):
                return
            window = plan[k]
            read = torch.stack([frames[n] for n in range(window.start, window.stop)])
            height, width = read.shape[-2:]
            cache = cache or Cache(self._stream_cache_bytes(height, width))
            if num_frames is not None:
                left = self.make_plan(num_frames, cuts, hold).num_pieces(k)
                meter.left = left * self.num_tiles(height, width)
            for share in self.run_window(window, read, sigma_255, cache, [meter], check):
                pending[share.index].append(share)
            del read
            while done < plan.num_frames_out and plan.windows_of(done).stop <= k + 1:
                n, inner = divmod(done, self.frame_factor)
                yield blend(pending.pop(done)), inner == 0 and n in cuts
                done += 1
            keep = plan.needed_from(k + 1)
            for n in [n for n in frames if n < keep]:
                del frames[n]
            cuts = [c for c in cuts if c >= min(keep, done // self.frame_factor)]

    def _padded(self, height: int, width: int) -> TileSize:
        """Return the size (H, W) that frames have for the network."""
        check_count("height", height, 1, "px")
        check_count("width", width, 1, "px")
        multiple, least = self.network.size_multiple_px, self.network.min_size_px
        return max(-(-height // multiple) * multiple, least), max(-(-width // multiple) * multiple, least)

    def _pad(self, frames: Tensor) -> Tensor:
        return mirror(frames, self.network.size_multiple_px, self.network.min_size_px)

    def _stream_cache_bytes(self, height: int, width: int) -> int:
        """Bytes that hold whatever a window has in common with the next."""
        return 0


class Restoration(Link):
    """A network that restores every frame that it sees: denoises, deblurs, enlarges."""

    frame_factor = 1

    def __init__(
        self, network: VRT, card: ModelCard, engine: Engine, *, window_frames: int, overlap_frames: int
    ) -> None:
        """Take a network that is on its device.

        Args:
            network: With parallel warping.
            card: Of the model.
            engine: Runs it.
            window_frames: Frames that it sees together.
            overlap_frames: Frames that two windows share.
        """
        super().__init__(network, card, engine)
        check_window(window_frames, overlap_frames)
        self.window_frames, self.overlap_frames = window_frames, overlap_frames

    def make_plan(self, num_frames: int, cuts: Sequence[int], hold: int = 1) -> LinkPlan:
        """Return the windows of a clip; the last may be short, but not below what attention compares."""
        least = self.network.config.window_size[0]
        return FadedPlan(num_frames, self.window_frames, self.overlap_frames, cuts, least=least)

    def run_window(
        self,
        window: Window,
        frames: Tensor,
        sigma_255: Sigma | None,
        cache: AnyCache,
        gauges: Sequence[Meter],
        check: Check | None,
    ) -> list[Share]:
        """Restore one window, scene by scene."""
        size = frames.shape[-2], frames.shape[-1]
        weights = dict(window.shares)
        shares = []
        for scene in window.pieces:
            seen = frames[scene.start - window.start : scene.stop - window.start]
            clip = self._pad(with_noise_level(seen, self._noise_level(seen, sigma_255, scene)))
            flows = []
            for n, first, second in zip(scene, clip, clip[1:], strict=False):
                if check is not None:
                    check()
                flows.append(cached(cache, ("flows", n, size), partial(self._engine.flows_between, first, second)))
            numbers = [n for n in scene if n in weights]
            wanted = [n - scene.start for n in numbers]
            made = self._engine.run(clip, flows, wanted, numbers=numbers, size=size, meter=gauges[0], check=check)
            shares += [Share(n, weights[n], frame) for n, frame in zip(numbers, made, strict=True)]
        return shares

    def _noise_level(self, seen: Tensor, sigma_255: Sigma | None, scene: range) -> float | None:
        """Return the noise level of frames of one scene, in 8-bit units; None if the network does not ask for it."""
        if not self.needs_sigma:
            return None
        if sigma_255 != "auto":
            return sigma_255
        estimate = estimate_sigma(seen)
        _log.info("model %s: sigma %.1f estimated for frames %d to %d", self.name, estimate, scene[0], scene[-1])
        return estimate

    def _stream_cache_bytes(self, height: int, width: int) -> int:
        padded_height, padded_width = self._padded(height, width)
        pair_bytes = sum(2 * 2 * 4 * (padded_height >> i) * (padded_width >> i) for i in range(4))
        return (self.window_frames - 1) * pair_bytes


class Interpolation(Link):
    """A network that makes the frame between two: twice the frames, the source frames among them untouched."""

    frame_factor = 2

    def make_plan(self, num_frames: int, cuts: Sequence[int], hold: int = 1) -> LinkPlan:
        """Return the windows of a clip."""
        return MidpointPlan(num_frames, cuts, hold)

    def run_window(
        self,
        window: Window,
        frames: Tensor,
        sigma_255: Sigma | None,
        cache: AnyCache,
        gauges: Sequence[Meter],
        check: Check | None,
    ) -> list[Share]:
        """Return source frame k and the frame between it and the next, or itself again where there is none."""
        k = window.index - window.start
        between = frames[k].clone()
        if window.pieces:
            four = torch.arange(k - 1, k + 3).clamp(0, len(frames) - 1)  # the inner frame for a missing outer one
            clip = self._pad(frames[four.to(frames.device)])
            size = frames.shape[-2], frames.shape[-1]
            (between,) = self._engine.run(
                clip, (), [0], numbers=[2 * window.index + 1], size=size, meter=gauges[0], check=check
            )
        return [Share(2 * window.index, 1.0, frames[k].clone()), Share(2 * window.index + 1, 1.0, between)]
