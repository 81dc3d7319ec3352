"""CPU time of the shipped denoisers and DFTTest for a frame of 192x256, one thread, interleaved runs.

    python benchmarks/denoisers.py [--runs 5]

Prints the median CPU seconds for a frame of a clip of 18 frames, and the ratio to `denoise-small`. DFTTest needs the
extra "evaluation"; it is left out with a reason.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vrt_core import load_restorer
from vrt_train.evaluation.dfttest import dfttest, reason_to_skip

FRAMES, HEIGHT, WIDTH, SIGMA_255 = 18, 192, 256, 30.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    clip = torch.rand(FRAMES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    methods: dict[str, Callable[[Tensor], Tensor]] = {}
    for name in ("denoise-small", "denoise-fast"):
        restorer = load_restorer(name, device="cpu", precision="fp32", cuts="off")
        methods[name] = lambda x, restorer=restorer: restorer.restore(x, sigma_255=SIGMA_255)
    if reason := reason_to_skip():
        print(reason)
    else:
        methods["DFTTest"] = lambda x: dfttest(x, SIGMA_255)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for run in range(runs + 1):
        for name, method in methods.items():
            start = time.process_time()
            method(clip)
            if run:  # the first one warms up
                seconds[name].append((time.process_time() - start) / FRAMES)
    base = statistics.median(seconds["denoise-small"])
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"{name:14s} {median:.3f} s a frame ({spread}), {median / base:.3f} of denoise-small")


if __name__ == "__main__":
    main()
