"""Computes a roofline of a network on a GPU: FLOP and bytes of each frame, and which of them limits the frame rate.

    python benchmarks/roofline.py [--models 001 005 denoise-small] [--tile 256x256]

FLOP of linear layers, convolutions and attention are counted on meta tensors, and so are bytes: what every operation
reads and writes, as the network runs without a compiler. Views move nothing; operations that a compiler would fuse
count one by one, so this is an upper bound of the traffic. The lower bound is the traffic of matrix products,
convolutions, attention, sampling and copies alone: everything else fused into them. Peaks are those of NVIDIA's data
sheets, dense: RTX 4090 82.6 TFLOP/s in float32, 82.6 in TF32, 165.2 in float16 with float32 sums, 1008 GB/s; H100 SXM
66.9, 494.7, 989.4, 3350 GB/s. Nothing here is measured; a third to a half of these rates would be good.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from memory_planner import attention_result

from vrt_core import build_network, find_model

MOVERS = ("mm", "bmm", "convolution", "grid_sampler", "copy", "cat")
PICKERS = ("embedding", "index", "gather")


@dataclass(frozen=True)
class Card:
    """Peak rates of a GPU."""

    name: str
    flop_rate: dict[str, float]
    """FLOP per second of dense products, by precision."""
    byte_rate: float
    """Bytes per second from and to its memory."""


CARDS = (
    Card("RTX 4090", {"fp32": 82.6e12, "tf32": 82.6e12, "fp16": 165.2e12}, 1.008e12),
    Card("H100 SXM", {"fp32": 66.9e12, "tf32": 494.7e12, "fp16": 989.4e12}, 3.35e12),
)


class Traffic(TorchDispatchMode):
    """Counts bytes read and written: ``max_bytes`` by all operations, ``min_bytes`` by those that cannot be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.max_bytes = self.min_bytes = self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        """Run the operation and count its bytes, unless it returns a view."""
        out = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        written = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        inputs = {x.untyped_storage()._cdata for x in read}
        in_place = func._schema.is_mutable
        if written and (in_place or any(x.untyped_storage()._cdata not in inputs for x in written)):
            name = func.name()
            if any(picker in name for picker in PICKERS):  # these read only what they select
                picked = args[2] if "index_put" in name else out
                moved = 2 * picked.numel() * picked.element_size()
            else:
                moved = sum(x.numel() * x.element_size() for x in read + written)
            self.max_bytes += moved
            self.calls += 1
            self.min_bytes += moved if any(mover in name for mover in (*MOVERS, *PICKERS)) else 0
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **options: Any) -> Tensor:
        """Stand in for the fused kernel, which reads its operands and writes its result."""
        moved = 2 * q.numel() + k.numel() + v.numel() + (0 if attn_mask is None else attn_mask.numel())
        self.max_bytes += (moved - q.numel()) * q.element_size()  # the result is counted at its allocation
        self.min_bytes += moved * q.element_size()
        return attention_result(q, k, v)


def count_pass(config: dict[str, Any], frames: int, height: int, width: int, dtype: torch.dtype) -> tuple[int, Traffic]:
    """Return the FLOP of a pass with given flows, and its traffic."""
    with torch.device("meta"), torch.inference_mode():
        network = build_network(**config).to_precision(dtype)
        clip = torch.empty(1, frames, 3 + network.config.nonblind_denoising, height, width)
        flows: Any = None
        if network.uses_flows:
            pyramid = tuple(torch.empty(1, frames - 1, 2, height >> i, width >> i) for i in range(4))
            flows = (pyramid, pyramid)
        with FlopCounterMode(display=False) as flop_counter:
            network(clip, flows)
        with Traffic() as traffic, patch.object(F, "scaled_dot_product_attention", traffic.attend):
            network(clip, flows)
    return flop_counter.get_total_flops(), traffic


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["denoise-small", "005", "009", "001", "002"], help="models")
    parser.add_argument("--tile", default="256x256", help="input, HxW")
    args = parser.parse_args()
    height, width = (int(x) for x in args.tile.split("x"))
    columns = ["model", "pass", "precision", "GFLOP/frame", "GB/frame", "fused", "operations", "card"]
    columns += ["fps by products", "by bytes", "by bytes, fused", "binds"]
    print(f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", sep="\n")
    for model in args.models:
        card = find_model(model)
        interpolates = card.task == "interpolate"
        frames = 4 if interpolates else card.window_frames
        num_outputs = 1 if interpolates else frames - card.overlap_frames  # frames that the next window does not repeat
        short = card.name.partition("_")[0]
        for dtype, precisions in ((torch.float32, ("fp32", "tf32")), (torch.float16, ("fp16",))):
            flop, traffic = count_pass(dict(card.config), frames, height, width, dtype)
            work = [
                f"{flop / num_outputs / 1e9:.0f}",
                *(f"{x / num_outputs / 1e9:.2f}" for x in (traffic.max_bytes, traffic.min_bytes)),
            ]
            for precision in precisions:
                for gpu in CARDS:
                    products = gpu.flop_rate[precision] / (flop / num_outputs)
                    unfused, fused = (gpu.byte_rate / (x / num_outputs) for x in (traffic.max_bytes, traffic.min_bytes))
                    binds = "bytes" if fused < products else "products" if products < unfused else "bytes until fused"
                    cells = [short, f"{frames}x{height}x{width}", precision, *work, f"{traffic.calls}", gpu.name]
                    cells += [f"{products:.1f}", f"{unfused:.1f}", f"{fused:.1f}", binds]
                    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
