"""Runs one network on padded frames: tile by tile, in the memory and precision there is."""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import NumericsError, OutOfMemoryError
from ..hardware.devices import is_out_of_memory, release_unused, usable_bytes, with_index
from ..hardware.streams import AsyncCopier
from ..network import VRT, compile_parts
from ..options import RestoreOptions
from . import memory
from .progress import RunContext
from .tile_plan import TileSize, Tiling, check_tile, choose_tile_size, make_tiling, smaller_tile_sizes
from .tile_sums import Tile, TileSums

_log = logging.getLogger(__name__)

PairFlows = tuple[Tensor, ...]
"""Flows between two neighbouring frames: four levels, level i (2, 2, H / 2^i, W / 2^i): backward, then forward."""


@contextmanager
def _inference_mode(device: torch.device) -> Iterator[None]:
    """Inference without autocast, whatever the caller's modes: the network decides what runs in which precision."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


class TileExecutor:
    """Runs a network on clips of padded frames. It holds no frames between calls.

    Frames, flows and results are in main memory. The network's device holds one tile at a time, the copy of the next
    tile to it, and the copy of the previous result from it.
    """

    def __init__(
        self,
        network: VRT,
        name: str,
        options: RestoreOptions,
        *,
        device: torch.device,
        dtype: torch.dtype,
        window_frames: int,
        is_oom: Callable[[BaseException], bool] | None = None,
    ) -> None:
        """Move the network to its device and precision, in place.

        Args:
            network: The network.
            name: Name of the model, for messages.
            options: Tiles, memory and compilation.
            device: Device of the network.
            dtype: Precision of the network.
            window_frames: Frames of a whole window.
            is_oom: Tells the host's out-of-memory errors, beside torch's.
        """
        self.network, self.name, self.dtype = network, name, dtype
        self.device = device = with_index(device)
        self.scale = network.config.upscale
        self._tile = check_tile(
            options.tile_px,
            options.tile_overlap_px,
            multiple_px=network.size_multiple_px,
            min_px=network.min_size_px,
        )
        self._options, self._window_frames = options, window_frames
        self._overlap_px, self._memory_bytes = options.tile_overlap_px, options.memory_bytes
        self._is_oom = lambda error: is_out_of_memory(error) or (is_oom is not None and is_oom(error))
        self._tilings: dict[TileSize, Tiling] = {}
        self._copier = AsyncCopier(device)
        with self._no_smaller_tiles(f"the weights do not fit on {device}"):
            network.to_precision(dtype).to(device)
        self._compiled = compile_parts(network) if options.compile else network

    def tiling(self, size: TileSize) -> Tiling:
        """Return the tiling of padded frames (H, W): the same for every call, until memory runs out."""
        if size not in self._tilings:
            self.use_tile(size, self._choose_tile(size) if self._tile is None else self._tile)
        return self._tilings[size]

    def use_tile(self, size: TileSize, tile: TileSize) -> None:
        """Set the tile of padded frames (H, W)."""
        self._tilings[size] = make_tiling(size, tile, self._overlap_px, self.network.size_multiple_px)

    def estimate_bytes(self, num_frames: int, size: TileSize) -> int:
        """Return the peak memory on the network's device for so many padded frames (H, W), without the weights."""
        num_frames = min(num_frames, self._window_frames)
        peak = self._estimate_pass(num_frames, self.tiling(size).tile)
        if self.network.config.prior_step_px:
            peak = max(peak, memory.estimate_prior_memory(self.network.config, num_frames, *size, self.device))
        if self.network.config.group_passes:
            peak = max(peak, memory.estimate_group_filter_memory(self.network.config, num_frames, *size, self.device))
        return max(peak, memory.estimate_flow_memory(self.network.config, *size)) if self.network.uses_flows else peak

    def append_prior(self, clip: Tensor, context: RunContext) -> Tensor:
        """Return a clip of padded frames with the estimate of the network's prior, if it has one; see ``VRT``.

        Args:
            clip: (T, C, H, W) float32.
            context: Cancels.
        """
        if not self.network.config.prior_step_px:
            return clip
        reason = f"the frequency prior of {len(clip)} frames of {clip.shape[-2]}x{clip.shape[-1]} px does not fit"
        with self._no_smaller_tiles(f"{reason}; set a smaller window_frames"), _inference_mode(self.device):
            clip = self.network.append_prior(clip[None].to(self.device), context.raise_if_cancelled)[0].to(clip.device)
        return clip

    def filter_groups(self, clip: Tensor, restored: list[Tensor], context: RunContext) -> list[Tensor]:
        """Return all frames of a clip after the network's group filter, if it has one; see ``VRT``.

        Args:
            clip: (T, C, H', W') float32, padded, in main memory.
            restored: The T frames that the network gave, (3, H, W) each.
            context: Cancels.
        """
        if not self.network.config.group_passes:
            return restored
        H, W = restored[0].shape[1:]
        reason = f"the group filter of {len(clip)} frames of {H}x{W} px does not fit; set a smaller window_frames"
        with self._no_smaller_tiles(reason), _inference_mode(self.device):
            noisy, pilot = clip[None, ..., :H, :W].to(self.device), torch.stack(restored)[None].to(self.device)
            filtered = self.network.filter_groups(noisy, pilot, context.raise_if_cancelled)[0]
            frames = [frame.clone() for frame in filtered.to(clip.device)]
        context.counter.report()
        return frames

    def flows_between(self, first: Tensor, second: Tensor) -> PairFlows:
        """Return the flows between two neighbouring padded frames, (C, H, W) each."""
        with _inference_mode(self.device):
            pair = self.network.flow_frames(torch.stack((first, second))).to(self.device)  # (2, 3, H, W)
            levels = self._try_flows(pair)
            if levels is None:
                release_unused(self.device)
                with self._no_smaller_tiles(f"the flows of frames of {pair.shape[-2]}x{pair.shape[-1]} px do not fit"):
                    single = [self.network.flows(pair[i : i + 1], pair[1 - i : 2 - i]) for i in (0, 1)]
                levels = [torch.cat(level) for level in zip(*single, strict=True)]
            return tuple(level.to(first.device) for level in levels)

    def run(
        self,
        clip: Tensor,
        flows: Sequence[PairFlows],
        outputs: Sequence[int],
        context: RunContext,
        *,
        numbers: Sequence[int],
        size: TileSize,
    ) -> list[Tensor]:
        """Run the network on a clip.

        When memory runs out, it continues with smaller tiles, in later calls as well, and logs a warning. When a result
        in half precision is not finite, it runs again in float32, for this call only, and logs a warning.

        Args:
            clip: Padded frames, (T, C, H, W) float32, in main memory.
            flows: Flows between neighbours, T-1 of them; none for a network without flows.
            outputs: Indices of the output frames to return.
            context: Counts passes, cancels.
            numbers: Numbers of these frames in the clip, for messages.
            size: (H, W) before padding.

        Returns:
            The frames, each (3, scale * H, scale * W) float32 in main memory of its own.

        Raises:
            NumericsError: If a frame has NaN or infinity in float32.
            OutOfMemoryError: If memory does not suffice, even with the smallest tiles.
        """
        padded, counter = (clip.shape[-2], clip.shape[-1]), context.counter
        clips_remaining = None if counter.remaining is None else counter.remaining // len(self.tiling(padded))
        frames = self._allocate(len(outputs), size)
        while True:
            tiling = self.tiling(padded)
            counter.remaining = None if clips_remaining is None else clips_remaining * len(tiling)
            sums = TileSums(frames, numbers, scale=self.scale, name=self.name, dtype=self.dtype)
            try:
                self._run_tiles(sums, clip, flows, outputs, tiling.tiles(self.scale), context)
                return frames
            except NumericsError as error:
                if self.dtype == torch.float32:
                    raise
                _log.warning("%s; frames %d to %d are computed again in fp32", error, numbers[0], numbers[-1])
                break
            except Exception as error:
                if not self._is_oom(error):
                    raise
                self._shrink(padded, error)
            release_unused(self.device)  # after the handler, whose traceback still holds the tensors
            for frame in frames:
                frame.zero_()
        del frames, sums
        release_unused(self.device)
        exact = self._in_float32()
        counter.remaining = None if clips_remaining is None else clips_remaining * len(exact.tiling(padded))
        frames = exact.run(clip, flows, outputs, context, numbers=numbers, size=size)
        counter.remaining = None if clips_remaining is None else (clips_remaining - 1) * len(self.tiling(padded))
        return frames

    def _allocate(self, num_frames: int, size: TileSize) -> list[Tensor]:
        """Return frames of zeros for the results of a window whose frames have this size (H, W) before padding.

        Raises:
            OutOfMemoryError: If main memory does not suffice: smaller tiles would not help.
        """
        height, width = self.scale * size[0], self.scale * size[1]
        mib = 12 * num_frames * height * width >> 20
        reason = f"the {num_frames} frames of {height}x{width} px that a window gives take {mib} MiB of main memory"
        with self._no_smaller_tiles(f"{reason}; set a smaller window_frames"):
            frames = [torch.zeros(3, height, width) for _ in range(num_frames)]
        return frames

    @contextmanager
    def _no_smaller_tiles(self, reason: str) -> Iterator[None]:
        """Raise OutOfMemoryError where memory runs out and smaller tiles would not help."""
        try:
            yield
        except Exception as error:
            if not self._is_oom(error):
                raise
            raise OutOfMemoryError(f"model {self.name} is out of memory: {reason}") from error

    def _in_float32(self) -> TileExecutor:
        """Return an executor of a copy of the network in float32: other threads may be running the network."""
        with self._no_smaller_tiles("there is no space for its weights in fp32; use precision='fp32'"):
            network = copy.deepcopy(self.network)
        return TileExecutor(
            network,
            self.name,
            replace(self._options, compile=False),
            device=self.device,
            dtype=torch.float32,
            window_frames=self._window_frames,
            is_oom=self._is_oom,
        )

    def _try_flows(self, pair: Tensor) -> Sequence[Tensor] | None:
        """Return the flows in both directions, computed together; None if that runs out of memory."""
        try:
            return self.network.flows(pair, pair.flip(0))
        except Exception as error:
            if not self._is_oom(error):
                raise
            _log.warning("model %s: out of memory with both flows of %dx%d px at once", self.name, *pair.shape[-2:])
            return None

    def _run_tiles(
        self,
        sums: TileSums,
        clip: Tensor,
        flows: Sequence[PairFlows],
        outputs: Sequence[int],
        tiles: Sequence[Tile],
        context: RunContext,
    ) -> None:
        """Run all tiles and sum them; the next tile and the previous result are copied beside the network."""
        pending: deque[Callable[[], None]] = deque()
        max_pending = 1 if self._copier.is_async(clip.device) else 0
        wait_upload = self._upload(clip, flows, tiles[0])
        for n, tile in enumerate(tiles):
            context.raise_if_cancelled()
            is_last = n + 1 == len(tiles)
            with _inference_mode(self.device):
                part, rows, columns, *levels = wait_upload()
                pair = (tuple(level[:1] for level in levels), tuple(level[1:] for level in levels)) if flows else None
                result = self._forward(part, pair, context)[0]  # (T', 3, s*h, s*w)
                del part, levels, pair
                if not is_last:
                    wait_upload = self._upload(clip, flows, tiles[n + 1])
                weighted = torch.stack([result[i] for i in outputs]).float().mul_(rows[:, None] * columns)
                del result
                is_finite = torch.isfinite(weighted).flatten(1).all(dim=1)  # (T',)
                wait_download = self._copier.download((weighted, is_finite), clip.device)
                del weighted
                pending.append(partial(sums.add, wait_download, tile))
                while len(pending) > (0 if is_last else max_pending):
                    pending.popleft()()
            context.counter.step(is_complete=not (is_last and self.network.config.group_passes))

    def _forward(self, clip: Tensor, flows: Any, context: RunContext) -> Tensor:
        """Run the network, compiled for whole windows only: other lengths are too many to compile for."""
        network = self._compiled if clip.shape[1] == self._window_frames else self.network
        return network(clip, flows, on_block=context.raise_if_cancelled)

    def _upload(self, clip: Tensor, flows: Sequence[PairFlows], tile: Tile) -> Callable[[], list[Tensor]]:
        """Start to copy a tile to the device: frames, weights of rows and columns, flows (2, T-1, 2, h, w) per level.

        Index 0 of the flows is backward, 1 forward. All are contiguous, so that results do not depend on strides.
        """
        rows, columns = tile
        tensors = [clip[None, :, :, rows.start : rows.stop, columns.start : columns.stop].contiguous()]
        tensors += [rows.weights.to(clip.device), columns.weights.to(clip.device)]
        for i, level in enumerate(zip(*flows, strict=True)):
            crop = (..., slice(rows.start >> i, rows.stop >> i), slice(columns.start >> i, columns.stop >> i))
            tensors.append(torch.stack([pair[crop] for pair in level], dim=1))
        return self._copier.upload(tensors)

    def _estimate_pass(self, num_frames: int, tile: TileSize) -> int:
        return memory.estimate_memory(self.network.config, num_frames, *tile, self.dtype, device=self.device)

    def _choose_tile(self, size: TileSize) -> TileSize:
        """Return the tile size with the fewest pixels to compute whose estimated memory is available."""
        budget = usable_bytes(self.device) if self._memory_bytes is None else self._memory_bytes

        def needed_bytes(tile: TileSize) -> int:
            return self._estimate_pass(self._window_frames, tile)

        multiple_px, min_px = self.network.size_multiple_px, self.network.min_size_px
        tile = choose_tile_size(size, min_px, self._overlap_px, multiple_px, lambda tile: needed_bytes(tile) <= budget)
        _log.log(
            logging.INFO if needed_bytes(tile) <= budget else logging.WARNING,
            "model %s: frames of %dx%d px in tiles of %dx%d px, about %d MiB of %d MiB",
            self.name, *size, *tile, needed_bytes(tile) >> 20, budget >> 20,
        )  # fmt: skip
        return tile

    def _shrink(self, size: TileSize, error: Exception) -> None:
        """Change to smaller tiles for frames of this size, after an error.

        Raises:
            OutOfMemoryError: If there are none.
        """
        current = self.tiling(size).tile
        smaller = smaller_tile_sizes(current, self.network.min_size_px)
        if not smaller:
            raise OutOfMemoryError(
                f"model {self.name} is out of memory with tiles of {current[0]}x{current[1]} px, the smallest it "
                "takes; set a smaller window_frames"
            ) from error
        _log.warning(
            "model %s: out of memory with tiles of %dx%d px; going on with %dx%d px, which changes the result a little",
            self.name, *current, *smaller[0],
        )  # fmt: skip
        self.use_tile(size, smaller[0])
