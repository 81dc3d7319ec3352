"""Schedule of a run: learning rate, and length of a run that must end in time."""

import math
import time


def learning_rate(step: int, steps: int, peak: float, *, warmup: int, final_ratio: float = 0.02) -> float:
    """Return the learning rate of a step: linear warm-up, then cosine annealing to ``final_ratio * peak``."""
    progress = min(max(step - warmup, 0) / max(steps - warmup, 1), 1.0)
    cosine = final_ratio + (1 - final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * cosine


def steps_that_fit(step: int, seconds_left: float, seconds_per_step: float) -> int:
    """Return the length of a run (steps done and steps left) that uses up the time; at least one step is left."""
    return step + max(int(seconds_left / seconds_per_step), 1)


class Deadline:
    """Plans the length of a run from the measured speed, so that its schedule ends in time."""

    def __init__(self, seconds_left: float, replan_steps: int, step: int) -> None:
        """Start the clock.

        Args:
            seconds_left: Wall time of the rest of the run, pauses included.
            replan_steps: Steps between two plans.
            step: Steps done.
        """
        self._replan_steps = replan_steps
        self._end = time.time() + seconds_left
        self._last_time, self._last_step = time.time(), step
        self._seconds_per_step: float | None = None

    def plan(self, step: int, steps: int) -> int:
        """Return the new length of the run; ``steps`` unless a plan is due."""
        if step - self._last_step < self._replan_steps:
            return steps
        latest = (time.time() - self._last_time) / (step - self._last_step)
        smoothed = latest if self._seconds_per_step is None else 0.7 * self._seconds_per_step + 0.3 * latest
        self._seconds_per_step = smoothed
        steps = steps_that_fit(step, self._end - time.time(), smoothed)
        self._last_time, self._last_step = time.time(), step
        return steps
