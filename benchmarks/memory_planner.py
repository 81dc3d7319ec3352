"""What the memory planner predicts, beside what a pass of the network holds, and what fits where by its account.

    python benchmarks/memory_planner.py [--models 001 005] [--sizes 6x64x64] [--dtypes float32]
    python benchmarks/memory_planner.py --resident [--models denoise-small] [--sizes 6x64x64]
    python benchmarks/memory_planner.py --fits

The pass runs on tensors without contents (FakeTensorMode), so it needs neither the memory nor the device: every tensor
that comes into being is followed until it is freed, and the peak is the most that lived at once. What a kernel takes
and gives back within one operation is not seen, nor what an allocator keeps; fused attention stands for its result
alone. Stages have two blocks here, for more of them change no shape. ``--resident`` runs real passes on the CPU, each
in a fresh process, and measures what the process holds resident above what it held before, weights loaded: with what
kernels take and the allocator keeps. ``--fits`` prints the side of the largest square tile of LQ pixels, for windows of
the model's own length, by the planner's account: in eight tenths of a device's memory, less the weights. Computed, not
measured.
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
LEAST_PX, MOST_PX = 64, 4096


class LiveBytes(TorchDispatchMode):
    """Follows the bytes of all tensors that come into being under it; ``peak`` is the most that lived at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        """Run the operation and take down what it made."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._forget, storage._cdata)
        return out

    def _forget(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def attended(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Stand in for a fused kernel, which without its device would not be chosen: make the result alone."""
    return torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


def measure(config: dict[str, Any], frames: int, height: int, width: int, dtype: torch.dtype) -> int:
    """Return the peak bytes of one pass with given flows, as the engine runs it, weights not counted."""
    few = {**config, "depths": [2 if depth else 0 for depth in config["depths"]]}
    with FakeTensorMode(), torch.device("cuda"), torch.inference_mode():
        torch.set_default_dtype(dtype)
        network = build_network(**few)
        torch.set_default_dtype(torch.float32)
        clip = torch.empty(1, frames, 3 + network.config.nonblind_denoising, height, width)
        flows: Any = None
        if network.uses_flows:
            pyramid = tuple(torch.empty(1, frames - 1, 2, height >> i, width >> i) for i in range(4))
            flows = (pyramid, pyramid)
        with patch.object(F, "scaled_dot_product_attention", attended), LiveBytes() as live:
            network(clip, flows)
    return live.peak


def resident(config: dict[str, Any], frames: int, height: int, width: int, dtype: torch.dtype) -> int:
    """Return the peak resident bytes above idle of a real pass in this process."""
    from vs_official import PeakMemory

    few = {**config, "depths": [2 if depth else 0 for depth in config["depths"]]}
    network = build_network(**few).to_precision(dtype)
    clip = torch.rand(1, frames, 3 + network.config.nonblind_denoising, height, width)
    flows: Any = None
    if network.uses_flows:
        pyramid = tuple(torch.rand(1, frames - 1, 2, height >> i, width >> i) for i in range(4))
        flows = (pyramid, pyramid)
    with torch.inference_mode():
        least = network.size_multiple_px * max(network.config.window_size[1:])
        small = (
            None
            if flows is None
            else tuple(tuple(f[..., : least >> i, : least >> i] for i, f in enumerate(p)) for p in flows)
        )
        network(clip[..., :least, :least], small)  # what kernels set up once
        if sys.platform == "linux":  # what that pass has freed is still this process's, and would be used again unseen
            ctypes.CDLL(None).malloc_trim(0)
        with PeakMemory() as memory:
            network(clip, flows)
    return memory.peak_bytes


def in_fresh_process(model: str, size: str, dtype: str) -> int:
    """Return what ``resident`` gives in a process of its own."""
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
                    found = in_fresh_process(model, size, name)
                else:
                    found = measure(config, frames, height, width, dtype)
                print(
                    f"| {model} | {frames}x{height}x{width} | {name} | {predicted / 1e9:.3f} | {found / 1e9:.3f} "
                    f"| {predicted / found:.2f} |",
                    flush=True,
                )


def fits(args: argparse.Namespace) -> None:
    """Print the largest tiles, computed and not measured."""
    print(f"| model | frames | dtype | {' | '.join(f'{gb} GB' for gb in CARDS_GB)} |")
    print("|---" * (3 + len(CARDS_GB)) + "|")
    for model in args.models:
        card = find_model(model)
        config, frames = dict(card.config), 4 if card.task == "interpolate" else card.window_frames
        with torch.device("meta"):
            numbers = sum(p.numel() for p in build_network(**config).parameters())
        for name in args.dtypes:
            dtype = getattr(torch, name)
            tiles = []
            for gb in CARDS_GB:
                room = 0.8 * gb * 1e9 - numbers * dtype.itemsize
                sides = range(LEAST_PX, MOST_PX + 1, 8)
                fitting = [s for s in sides if estimate_memory(config, frames, s, s, dtype, device="cuda") <= room]
                tiles.append(f"{fitting[-1]}" if fitting else "-")
            print(f"| {model} | {frames} | {name} | {' | '.join(tiles)} |")


def main() -> None:
    """Compare, or print what fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["001", "002", "003", "005", "009"])
    parser.add_argument("--sizes", nargs="+", default=["6x64x64", "6x128x128"], help="TxHxW")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float16"])
    parser.add_argument("--resident", action="store_true")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fits", action="store_true")
    args = parser.parse_args()
    fits(args) if args.fits else compare(args)


if __name__ == "__main__":
    main()
