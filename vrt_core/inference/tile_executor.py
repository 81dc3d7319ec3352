"""One network at work on pieces of a clip: tiles, memory, precision, and what may go wrong with them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import NumericsError
from ..hardware.devices import precision_name, release_unused
from ..hardware.streams import Carrier
from ..network import VRT, compile_parts
from .memory import estimate_flow_memory, estimate_memory, is_out_of_memory, usable_bytes
from .progress import Check, Meter
from .tile_plan import Span, TileSize, Tiling, check_tile, fitting_tile, lay_tiles, smaller_tiles

_log = logging.getLogger(__name__)

PairFlows = tuple[Tensor, ...]
"""Flows between two neighbouring frames: four levels, level i (2, 2, H / 2^i, W / 2^i): backward, then forward."""


@contextmanager
def _plain_mode(device: torch.device) -> Iterator[None]:
    """Inference, whatever modes the caller is in; the network alone decides what runs in which precision."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


class Engine:
    """Runs a network over pieces of clips whose frames are padded already; holds no frames between calls.

    Frames, flows and results stay on the device of the frames; the network's own device holds one tile at a time, the
    next one on its way in, and the result of the last on its way out.
    """

    def __init__(
        self,
        network: VRT,
        name: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        window_frames: int,
        tile_px: object = "auto",
        tile_overlap_px: int | None = None,
        memory_bytes: int | None = None,
        is_oom: Callable[[BaseException], bool] | None = None,
        compile: bool = False,
    ) -> None:
        """Move the network to its device and precision, in place."""
        self.network, self.name, self.device, self.dtype = network, name, device, dtype
        self.scale = network.config.upscale
        self._tile = check_tile(
            tile_px, tile_overlap_px, multiple_px=network.size_multiple_px, least_px=network.min_size_px
        )
        self._overlap_px, self._window_frames = tile_overlap_px, window_frames
        self._memory_bytes = memory_bytes
        self._is_oom = lambda error: is_out_of_memory(error) or (is_oom is not None and is_oom(error))
        self._tilings: dict[TileSize, Tiling] = {}
        self._carrier = Carrier(device)
        network.to_precision(dtype).to(device)
        self._compiled = compile_parts(network) if compile else network

    def tiling(self, size: TileSize) -> Tiling:
        """Return how padded frames of (H, W) are cut: the same for every call, until memory runs out."""
        if size not in self._tilings:
            self._tilings[size] = self._lay(size, self._choose_tile(size) if self._tile is None else self._tile)
        return self._tilings[size]

    def estimate_bytes(self, num_frames: int, size: TileSize) -> int:
        """Return the peak on the network's device for pieces of so many frames of (H, W), weights not counted."""
        peak = self._estimate_pass(min(num_frames, self._window_frames), self.tiling(size).tile)
        return max(peak, estimate_flow_memory(self.network.config, *size)) if self.network.uses_flows else peak

    def flows_between(self, first: Tensor, second: Tensor) -> PairFlows:
        """Return the flows between two neighbouring padded frames, (C, H, W) each."""
        with _plain_mode(self.device):
            pair = torch.stack((first[:3], second[:3])).to(self.device)
            levels = self._try_flows(pair)
            if levels is None:
                release_unused(self.device)
                single = [self.network.flows(pair[i : i + 1], pair[1 - i : 2 - i]) for i in (0, 1)]
                levels = [torch.cat(level) for level in zip(*single, strict=True)]
            return tuple(level.to(first.device) for level in levels)

    def run(
        self,
        clip: Tensor,
        flows: Sequence[PairFlows],
        wanted: Sequence[int],
        *,
        numbers: Sequence[int],
        size: TileSize,
        meter: Meter,
        check: Check | None = None,
    ) -> list[Tensor]:
        """Send a piece of a clip through the network.

        Out of memory, it goes on with smaller tiles, now and later, and says so in the log.

        Args:
            clip: Padded frames, (T, C, H, W) float32.
            flows: Between neighbours, T-1 of them; none if the network does without.
            wanted: Which of the frames that the network makes to return.
            numbers: What to call these in errors.
            size: (H, W) before padding.
            meter: Counts the passes.
            check: Called before every pass and every block; raises to cancel.

        Returns:
            The wanted frames, each (3, scale * H, scale * W) float32 on the device of ``clip``, in memory of its own.

        Raises:
            NumericsError: If a frame holds NaN or infinity.
        """
        padded = clip.shape[-2], clip.shape[-1]
        pieces = None if meter.left is None else meter.left // len(self.tiling(padded))
        while True:
            tiling = self.tiling(padded)
            meter.left = None if pieces is None else pieces * len(tiling)
            height, width = self.scale * size[0], self.scale * size[1]
            made = [clip.new_zeros(3, height, width, dtype=torch.float32) for _ in wanted]
            try:
                self._run_tiles(made, clip, flows, wanted, numbers, tiling.tiles(self.scale), meter, check)
                return made
            except Exception as error:
                if not self._is_oom(error) or not self._shrink(padded):
                    raise
            release_unused(self.device)  # not in the handler, whose traceback still holds the tensors

    def _try_flows(self, pair: Tensor) -> Sequence[Tensor] | None:
        """Return the flows in both directions, found in one go; None if that takes more memory than there is."""
        try:
            return self.network.flows(pair, pair.flip(0))
        except Exception as error:
            if not self._is_oom(error):
                raise
            _log.warning("model %s: out of memory with both flows of %dx%d px at once", self.name, *pair.shape[-2:])
            return None

    def _run_tiles(
        self,
        made: list[Tensor],
        clip: Tensor,
        flows: Sequence[PairFlows],
        wanted: Sequence[int],
        numbers: Sequence[int],
        tiles: Sequence[tuple[Span, Span]],
        meter: Meter,
        check: Check | None,
    ) -> None:
        """Run all tiles and add them up; copies of the next tile and of the last result go beside the network."""
        waiting: deque[Callable[[], None]] = deque()
        lag = 1 if self._carrier.carries(clip.device) else 0
        arrive = self._send(clip, flows, tiles[0])
        for n, tile in enumerate(tiles):
            if check is not None:
                check()
            with _plain_mode(self.device):
                part, rows, columns, *levels = arrive()
                known = (tuple(level[:1] for level in levels), tuple(level[1:] for level in levels)) if flows else None
                result = self._forward(part, known, check)[0]  # (T', 3, s*h, s*w)
                del part, levels, known
                if n + 1 < len(tiles):
                    arrive = self._send(clip, flows, tiles[n + 1])
                shown = torch.stack([result[i] for i in wanted]).float().mul_(rows[:, None] * columns)
                del result
                finite = torch.isfinite(shown).flatten(1).all(dim=1)
                fetch = self._carrier.download((shown, finite), clip.device)
                del shown
                waiting.append(partial(self._add, made, fetch, numbers, tile))
                while len(waiting) > (lag if n + 1 < len(tiles) else 0):
                    waiting.popleft()()
            meter.step()

    def _forward(self, clip: Tensor, flows: Any, check: Check | None) -> Tensor:
        """Run the network; compiled for whole windows only, for others come in too many lengths."""
        run = self._compiled if clip.shape[1] == self._window_frames else self.network
        return run(clip, flows, check=check)

    def _send(self, clip: Tensor, flows: Sequence[PairFlows], tile: tuple[Span, Span]) -> Callable[[], list[Tensor]]:
        """Begin to bring a tile to the device: frames, weights of rows and columns, flows (2, T-1, 2, h, w) a level.

        Of the two, backward ones come first. Frames are contiguous: one layout, one result.
        """
        rows, columns = tile
        sent = [clip[None, :, :, rows.start : rows.stop, columns.start : columns.stop].contiguous()]
        sent += [rows.weights.to(clip.device), columns.weights.to(clip.device)]
        for i, level in enumerate(zip(*flows, strict=True)):
            here = (..., slice(rows.start >> i, rows.stop >> i), slice(columns.start >> i, columns.stop >> i))
            sent.append(torch.stack([pair[here] for pair in level], dim=1))
        return self._carrier.upload(sent)

    def _add(
        self, made: list[Tensor], fetch: Callable[[], list[Tensor]], numbers: Sequence[int], tile: tuple[Span, Span]
    ) -> None:
        """Add the weighted frames of a tile, when they are there, to what they are part of."""
        frames, finite = fetch()
        top, left = (self.scale * span.start for span in tile)
        for target, frame, number, good in zip(made, frames, numbers, finite.tolist(), strict=True):
            if not good:
                advice = "" if self.dtype == torch.float32 else "; use precision='fp32'"
                precision = precision_name(self.dtype)
                raise NumericsError(
                    f"model {self.name} gave NaN or infinity for output frame {number} in {precision}{advice}"
                )
            place = target[:, top : top + frame.shape[1], left : left + frame.shape[2]]
            place += frame[:, : place.shape[1], : place.shape[2]]

    def _lay(self, size: TileSize, tile: TileSize) -> Tiling:
        return lay_tiles(size, tile, self._overlap_px, self.network.size_multiple_px)

    def _estimate_pass(self, num_frames: int, tile: TileSize) -> int:
        return estimate_memory(self.network.config, num_frames, *tile, self.dtype, device=self.device)

    def _choose_tile(self, size: TileSize) -> TileSize:
        """Return the tile that computes least, of those whose estimate fits the memory there is."""
        budget = usable_bytes(self.device) if self._memory_bytes is None else self._memory_bytes

        def need(tile: TileSize) -> int:
            return self._estimate_pass(self._window_frames, tile)

        multiple, least = self.network.size_multiple_px, self.network.min_size_px
        tile = fitting_tile(size, least, self._overlap_px, multiple, lambda tile: need(tile) <= budget)
        _log.log(
            logging.INFO if need(tile) <= budget else logging.WARNING,
            "model %s: frames of %dx%d px in tiles of %dx%d px, about %d MiB of %d MiB",
            self.name, *size, *tile, need(tile) >> 20, budget >> 20,
        )  # fmt: skip
        return tile

    def _shrink(self, size: TileSize) -> bool:
        """Go on with smaller tiles; return False if there are none."""
        now = self.tiling(size).tile
        smaller = smaller_tiles(now, self.network.min_size_px)
        if not smaller:
            _log.error("model %s: out of memory with tiles of %dx%d px, the smallest it takes", self.name, *now)
            return False
        _log.warning(
            "model %s: out of memory with tiles of %dx%d px; going on with %dx%d px, which changes the result a little",
            self.name, *now, *smaller[0],
        )  # fmt: skip
        self._tilings[size] = self._lay(size, smaller[0])
        return True
