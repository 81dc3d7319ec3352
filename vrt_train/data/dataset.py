"""Training batches and validation examples.

A batch is a function of (seed, rank, step) alone. A resumed run therefore gets the same batches as an uninterrupted
one, whatever the number of data loader workers.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..evaluation.metrics import psnr
from .config import DataConfig
from .examples import TASKS, Example, baseline
from .library import Library

VALIDATION_SIGMA_255 = 30.0
VALIDATION_SIZE_PX = 96  # smallest target
NUM_VALIDATION = 6
MAX_BASELINE_DB = 45.0  # PSNR of the trivial solution; examples above it are left out, because nothing moves in them


class TrainingBatches(Dataset[Example]):
    """Map-style data set from step to batch."""

    def __init__(self, library: Library, config: DataConfig, seed: int, *, rank: int = 0) -> None:
        """Describe the batches of a run.

        Args:
            library: Clean clips.
            config: Task, size and degradations.
            seed: Seed of the run.
            rank: Rank of the process in distributed training; each rank has its own batches.
        """
        self.library, self.config = library, config
        self.seeds = [seed, rank] if rank else [seed]

    def __getitem__(self, step: int) -> Example:
        """Return the batch of a step: examples with a leading batch axis."""
        rng = np.random.default_rng([*self.seeds, step])
        draw = TASKS[self.config.task]
        return stack([draw(rng, self.library, self.config) for _ in range(self.config.batch)])


def stack(examples: list[Example]) -> Example:
    """Stack examples on a leading axis."""
    return Example(*(torch.stack(fields) for fields in zip(*examples, strict=True)))


def batches(data: TrainingBatches, start: int, *, workers: int = 1) -> Iterator[Example]:
    """Yield batches without end, prefetched by worker processes.

    Args:
        data: The batches.
        start: First step.
        workers: Number of processes; 0 draws batches in the calling process.
    """
    steps = range(start, 2**31)
    return iter(DataLoader(data, batch_size=None, sampler=steps, num_workers=workers))


def validation_examples(library: Library, config: DataConfig) -> dict[str, list[Example]]:
    """Return the fixed examples of the validation curves, by kind of clip.

    Args:
        library: Split "val".
        config: Configuration of the training data.

    Returns:
        Examples of "photos", and of "film" if the training data have film.
    """
    examples: dict[str, list[Example]] = {}
    size_px = max(config.crop_px, VALIDATION_SIZE_PX // (config.scale if config.task == "sr" else 1))
    for kind, film_share, seed in (("film", 1.0, 7), ("photos", 0.0, 8)):
        if film_share > 0 and config.film_share == 0:
            continue
        fixed = replace(config, film_share=film_share, crop_px=size_px, sigma_255=(VALIDATION_SIGMA_255,) * 2)
        draw, rng = TASKS[config.task], np.random.default_rng(seed)
        examples[kind] = []
        while len(examples[kind]) < NUM_VALIDATION:
            example = draw(rng, library, fixed)
            if psnr(baseline(config.task, example.input, config.scale), example.target) < MAX_BASELINE_DB:
                examples[kind].append(example)
    return examples
