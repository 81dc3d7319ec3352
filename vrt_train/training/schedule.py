"""Learning rate over a run, and how long the run is."""

import math


def learning_rate(step: int, steps: int, peak: float, *, warmup: int, final_ratio: float = 0.02) -> float:
    """Return the rate of a step: linear warm-up, then a half cosine down to ``final_ratio * peak`` at ``steps``."""
    progress = min(max(step - warmup, 0) / max(steps - warmup, 1), 1.0)
    cosine = final_ratio + (1 - final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * cosine


def steps_that_fit(step: int, seconds_left: float, seconds_per_step: float) -> int:
    """Return the number of steps, those done included, after which the time is up."""
    return step + max(int(seconds_left / seconds_per_step), 1)
