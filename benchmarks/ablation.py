"""Measures what each idea of the paper is worth at small size, as PSNR of denoisers that lack one idea each.

    python benchmarks/ablation.py --data data [--steps 600] [--windows 1 2 4 6 12]

Denoisers with two blocks a stage are trained for a few hundred steps from random weights, on the same batches; all use
the frozen optical flow of ``denoise-small``. Scores are PSNR in dB at sigma 30 on held-out film and moving photos. A
second table has the PSNR of ``denoise-small`` on the demo clip by the number of frames in a window. ``python -m
vrt_train.prepare`` creates the data.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vrt_core import VRT, find_model, load_restorer
from vrt_core.models import load_network
from vrt_train.data.config import DataConfig
from vrt_train.data.dataset import TrainingBatches, validation_examples
from vrt_train.data.degradations import add_noise
from vrt_train.data.library import Library
from vrt_train.evaluation.clips import read_frames
from vrt_train.evaluation.metrics import psnr
from vrt_train.training.config import TrainConfig, find_config
from vrt_train.training.trainer import Trainer

CLIP = Path(__file__).resolve().parents[1] / "demo" / "bird.mp4"
SIGMA_255 = 30.0


def keep_all(network: VRT) -> None:
    """Remove nothing."""


def no_warping(network: VRT) -> None:
    """Remove parallel warping: attention alone combines the frames."""
    for stage in stages(network):
        setattr(stage, "_warp_and_fuse", lambda x, *_: x)  # noqa: B010


def flow_only(network: VRT) -> None:
    """Keep the offset layers at zero: warping follows the flow alone."""
    for stage in stages(network):
        stage.get_submodule("pa_deform.conv_offset").requires_grad_(False)


def no_flow(network: VRT) -> None:
    """Set all flows to zero: only learned offsets and modulation remain."""
    clip_flows = network.clip_flows

    def zero(clip: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        return tuple(tuple(torch.zeros_like(level) for level in levels) for levels in clip_flows(clip))

    setattr(network, "clip_flows", zero)  # noqa: B010


VARIANTS: dict[str, tuple[dict[str, float], Callable[[VRT], None]]] = {
    "whole network": ({}, keep_all),
    "self attention only": ({"mul_attn_ratio": 0.0}, keep_all),
    "no parallel warping": ({}, no_warping),
    "warping by flow only": ({}, flow_only),
    "warping without flow": ({}, no_flow),
}


def stages(network: VRT) -> list[nn.Module]:
    """Return stages 1 to 7."""
    return [network.get_submodule(f"stage{i}") for i in range(1, 8)]


def train(name: str, steps: int, data: Path) -> dict[str, float]:
    """Train a variant and return its scores."""
    changes, remove_idea = VARIANTS[name]
    recipe = TrainConfig.read(find_config("denoise-small-first"))
    config = dataclasses.replace(
        recipe,
        network=recipe.network | changes,
        data=DataConfig(num_frames=4, crop_px=32, batch=2, sigma_255=(SIGMA_255, SIGMA_255)),
        final_data=None,
        steps=steps,
        flow_frozen_steps=steps,
        flow_weight=0.0,
        ema_decay=0.99,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Library(data, "train"), Path(folder))
        trainer.load_flow(load_network(find_model("denoise-small")).get_submodule("spynet").state_dict())
        for network in (trainer.network, trainer.ema.network):
            remove_idea(network)  # pyright: ignore[reportArgumentType]
        batches = TrainingBatches(trainer.library, config.data, config.seed)
        for step in range(steps):
            trainer.train_step(batches[step])
        return trainer.validate(validation_examples(Library(data, "val"), config.data))


def score_windows(lengths: list[int]) -> dict[int, float]:
    """Return the PSNR of `denoise-small` on the demo clip for each number of frames in a window."""
    clean = read_frames(CLIP, 0, 24)
    noisy = add_noise(clean, SIGMA_255, torch.Generator().manual_seed(0))[:, :3]
    scores = {}
    for length in lengths:
        restorer = load_restorer(
            "denoise-small", device="cpu", window_frames=length, overlap_frames=min(2, length // 2)
        )
        scores[length] = psnr(restorer.restore(noisy, sigma_255=SIGMA_255), clean)
    return scores


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of vrt_train.prepare")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each variant")
    parser.add_argument("--windows", type=int, nargs="*", default=[1, 2, 4, 6, 12], help="frames in a window")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| frames in a window | PSNR |\n|---|---|")
    for length, score in score_windows(args.windows).items():
        print(f"| {length} | {score:.2f} |", flush=True)
    print(f"\n| variant, {args.steps} steps | film | photos |\n|---|---|---|")
    for name in VARIANTS:
        scores = train(name, args.steps, args.data)
        print(f"| {name} | {scores['film_psnr']:.2f} | {scores['photos_psnr']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
