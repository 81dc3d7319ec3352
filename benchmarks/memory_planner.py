"""Compares the memory planner with the peak of a pass of the network, and prints which tiles fit on which card.

    python benchmarks/memory_planner.py [--models 001 005] [--sizes 6x64x64] [--dtypes float32]
    python benchmarks/memory_planner.py --resident [--models denoise-small] [--sizes 6x64x64]
    python benchmarks/memory_planner.py --fits

The pass runs under FakeTensorMode on a CUDA device, so it needs neither the memory nor the device: the size of every
tensor counts from its creation until it is freed. Workspace inside one operation is not counted, nor what an allocator
retains; fused attention counts with its result alone. Stages have two blocks here, because more blocks change no shape.
``--resident`` runs real passes on the CPU, each in a fresh process, and measures resident memory above idle with the
weights loaded, which includes workspace and allocator. ``--fits`` prints the side of the largest square tile in LQ
pixels, for windows of the model's own length, in eight tenths of a device's memory less the weights: by the planner,
not measured.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from vrt_core import build_network, estimate_memory, find_model  # noqa: E402

CARDS_GB = (6, 8, 12, 16, 24, 80)
MIN_PX, MAX_PX = 64, 4096


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all live tensors that are created under it; ``peak`` is their maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        """Run the operation and count its results."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._discard, storage._cdata)
        return out

    def _discard(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def attention_result(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Stand in for the fused kernel, which FakeTensorMode does not select: allocate the result alone."""
    return torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


def measure(config: dict[str, Any], frames: int, height: int, width: int, dtype: torch.dtype) -> int:
    """Return the peak bytes of one pass with given flows, without the weights."""
    shallow = {**config, "depths": [2 if depth else 0 for depth in config["depths"]]}
    with FakeTensorMode(), torch.device("cuda"), torch.inference_mode():
        torch.set_default_dtype(dtype)
        network = build_network(**shallow)
        torch.set_default_dtype(torch.float32)
        clip = network.append_prior(torch.empty(1, frames, 3 + network.config.nonblind_denoising, height, width))
        flows: Any = None
        if network.uses_flows:
            pyramid = tuple(torch.empty(1, frames - 1, 2, height >> i, width >> i) for i in range(4))
            flows = (pyramid, pyramid)
        with patch.object(F, "scaled_dot_product_attention", attention_result), LiveBytes() as live:
            network(clip, flows)
    return live.peak


def resident(config: dict[str, Any], frames: int, height: int, width: int, dtype: torch.dtype) -> int:
    """Return the peak resident bytes above idle of a pass on the CPU in this process."""
    from vs_official import PeakMemory

    shallow = {**config, "depths": [2 if depth else 0 for depth in config["depths"]]}
    network = build_network(**shallow).to_precision(dtype)
    clip = network.append_prior(torch.rand(1, frames, 3 + network.config.nonblind_denoising, height, width))
    flows: Any = None
    if network.uses_flows:
        pyramid = tuple(torch.rand(1, frames - 1, 2, height >> i, width >> i) for i in range(4))
        flows = (pyramid, pyramid)
    with torch.inference_mode():
        min_px = network.size_multiple_px * max(network.config.window_size[1:])
        small_flows = (
            None
            if flows is None
            else tuple(tuple(f[..., : min_px >> i, : min_px >> i] for i, f in enumerate(p)) for p in flows)
        )
        network(clip[..., :min_px, :min_px], small_flows)  # warm-up: kernels set up state once
        if sys.platform == "linux":  # else the pass below would reuse memory that the warm-up freed
            ctypes.CDLL(None).malloc_trim(0)
        with PeakMemory() as memory:
            network(clip, flows)
    return memory.peak_bytes


def in_fresh_process(model: str, size: str, dtype: str) -> int:
    """Return the result of ``resident`` in a fresh process."""
    command = [sys.executable, __file__, "--once", "--models", model, "--sizes", size, "--dtypes", dtype]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def compare(args: argparse.Namespace) -> None:
    """Print predicted and measured peaks."""
    if not args.once:
        print("| model | clip | dtype | predicted GB | measured GB | predicted / measured |")
        print("|---|---|---|---|---|---|")
    for model in args.models:
        config = dict(find_model(model).config)
        for size in args.sizes:
            frames, height, width = (int(x) for x in size.split("x"))
            if config.get("pa_frames") == 0:
                frames = config["img_size"][0]
            for name in args.dtypes:
                dtype = getattr(torch, name)
                if args.once:
                    return print(resident(config, frames, height, width, dtype))
                device = "cpu" if args.resident else "cuda"
                predicted = estimate_memory(config, frames, height, width, dtype, device=device)
                if args.resident:
                    measured = in_fresh_process(model, size, name)
                else:
                    measured = measure(config, frames, height, width, dtype)
                print(
                    f"| {model} | {frames}x{height}x{width} | {name} | {predicted / 1e9:.3f} | {measured / 1e9:.3f} "
                    f"| {predicted / measured:.2f} |",
                    flush=True,
                )


def fits(args: argparse.Namespace) -> None:
    """Print the largest tiles by the planner."""
    print(f"| model | frames | dtype | {' | '.join(f'{gb} GB' for gb in CARDS_GB)} |")
    print("|---" * (3 + len(CARDS_GB)) + "|")
    for model in args.models:
        card = find_model(model)
        config, frames = dict(card.config), 4 if card.task == "interpolate" else card.window_frames
        with torch.device("meta"):
            num_weights = sum(p.numel() for p in build_network(**config).parameters())
        for name in args.dtypes:
            dtype = getattr(torch, name)
            tiles = []
            for gb in CARDS_GB:
                limit_bytes = 0.8 * gb * 1e9 - num_weights * dtype.itemsize
                sides = range(MIN_PX, MAX_PX + 1, 8)
                fitting = [
                    s for s in sides if estimate_memory(config, frames, s, s, dtype, device="cuda") <= limit_bytes
                ]
                tiles.append(f"{fitting[-1]}" if fitting else "-")
            print(f"| {model} | {frames} | {name} | {' | '.join(tiles)} |")


def main() -> None:
    """Compare the planner with passes, or print which tiles fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["001", "002", "003", "005", "009"], help="names of models")
    parser.add_argument("--sizes", nargs="+", default=["6x64x64", "6x128x128"], help="clips, TxHxW")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float16"], help="names of torch dtypes")
    parser.add_argument("--resident", action="store_true", help="measure resident memory on the CPU")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fits", action="store_true", help="print the largest tiles that fit instead")
    args = parser.parse_args()
    fits(args) if args.fits else compare(args)


if __name__ == "__main__":
    main()
