"""The training loop: one network, one process, a checkpoint from which it goes on bit for bit."""

import csv
import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vrt_core import VRT, build_network, find_model, load_weights

from ..data.dataset import DataConfig, Library, TrainingBatches, batches, validation_examples
from ..data.examples import Example, baseline
from ..evaluation.metrics import psnr
from .config import TrainConfig
from .distributed import Ranks
from .ema import EMA
from .objective import checkpoint_stages, interpolation_loss, restoration_loss, without_body
from .schedule import learning_rate, steps_that_fit
from .warm_start import warm_start

log = logging.getLogger(__name__)

TRAIN_COLUMNS = ("step", "steps", "time", "rate", "loss", "gradient", "flow_error_px")
VALIDATION_COLUMNS = ("step", "time", "film_psnr", "film_baseline_psnr", "photos_psnr", "photos_baseline_psnr")


class Trainer:
    """Trains a network on what `Library` offers."""

    def __init__(
        self, config: TrainConfig, library: Library, out: Path, *, threads: int = 1, ranks: Ranks | None = None
    ) -> None:
        """Build everything at step 0; ``resume`` then loads a checkpoint.

        Args:
            config: What to train.
            library: What to train on.
            out: Folder of the run; must exist.
            threads: Equal shares of a batch that are worked on at the same time, one CPU thread each.
            ranks: The processes that train together, each on batches of its own, and their devices.
        """
        self.ranks = ranks or Ranks()
        for data in filter(None, (config.data, config.final_data)):
            if data.batch % threads:
                raise ValueError(f"threads ({threads}) must divide the batch ({data.batch} clips)")
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        torch.manual_seed(config.seed)
        self.config, self.out, self.library = config, out, library
        self.network = build_network(**config.network).train()
        if config.start_from is not None:
            missing = warm_start(self.network, config.start_from)
            log.info("started from %s, but for %d parameter tensors", config.start_from, len(missing))
        if config.flow_from is not None:
            self.network.spynet.load_state_dict(load_weights(find_model(config.flow_from, components=True)))
        if config.head_steps:  # the body joins in later, without a jump
            nn.init.zeros_(self.network.conv_after_body.weight)
            nn.init.zeros_(self.network.conv_after_body.bias)
        self.network.to(self.ranks.device)
        self.ema = EMA(self.network, config.ema_decay)
        if config.checkpointing:
            checkpoint_stages(self.network)
        flow_parameters = list(self.network.spynet.parameters()) if has_flow(self.network) else []
        flow_ids = {id(p) for p in flow_parameters}
        body = [p for p in self.network.parameters() if id(p) not in flow_ids]
        self.optimizer = torch.optim.AdamW(
            [{"params": body, "ratio": 1.0}, {"params": flow_parameters, "ratio": config.flow_rate_ratio}],
            lr=config.rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
        )
        self.step, self.steps = 0, config.steps

    @property
    def data(self) -> DataConfig:
        """What the next batch looks like."""
        final = self.config.final_data
        return final if final and self.step >= (1 - self.config.final_share) * self.steps else self.config.data

    def load_flow(self, state: dict[str, Tensor]) -> None:
        """Start SpyNet from pre-trained weights."""
        self.network.spynet.load_state_dict(state)
        self.ema.network.get_submodule("spynet").load_state_dict(state)

    def train_step(self, batch: Example) -> dict[str, float]:
        """Take one step, each thread on its share of the batch; return what the log shows."""
        batch = Example(*(field.to(self.ranks.device) for field in batch))
        frozen = self.step < self.config.flow_frozen_steps
        config = self.config
        rate = learning_rate(self.step, self.steps, config.rate, warmup=config.warmup, final_ratio=config.final_ratio)
        if self.step >= self.config.head_steps:
            rate *= min(1.0, (self.step - self.config.head_steps + 1) / max(self.config.warmup, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["ratio"]
        if has_flow(self.network):
            self.network.spynet.requires_grad_(not frozen)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        shares = [Example(*parts) for parts in zip(*(field.chunk(self.threads) for field in batch), strict=True)]
        results = list(self._pool.map(lambda share: self._gradients(share, parameters), shares))
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, *parts in zip(parameters, *(gradients for gradients, _ in results), strict=True):
            parameter.grad = torch.stack(parts).mean(dim=0) if len(parts) > 1 else parts[0]
        self.ranks.average([parameter.grad for parameter in parameters if parameter.grad is not None])
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        if norm.isfinite():
            self.optimizer.step()
            self.ema.update(self.network)
        else:
            log.warning("step %d: gradient is not finite, step left out", self.step)
        self.step += 1
        return {"rate": rate, "gradient": float(norm)} | mean_of([shown for _, shown in results])

    def _gradients(self, batch: Example, parameters: list[nn.Parameter]) -> tuple[Sequence[Tensor], dict[str, float]]:
        """Return the gradients of a share of the batch, and its losses."""
        measure = interpolation_loss if self.config.data.task == "interpolate" else restoration_loss
        loss, shown = measure(self.network, batch, self.config)
        return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True), shown

    @torch.inference_mode()
    def validate(self, examples: dict[str, list[Example]]) -> dict[str, float]:
        """Return the PSNR of the averaged weights, and of the trivial answer, by kind of clip."""
        scores: dict[str, float] = {}
        task, scale = self.config.data.task, self.config.data.scale
        for kind, pairs in examples.items():
            before, after = 0.0, 0.0
            for seen, target, *_ in pairs:
                before += psnr(baseline(task, seen, scale), target) / len(pairs)
                after += psnr(self.ema.network(seen[None].to(self.ranks.device))[0].cpu(), target) / len(pairs)
            scores |= {f"{kind}_psnr": after, f"{kind}_baseline_psnr": before}
        return scores

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {
            "config": dataclasses.asdict(self.config),
            "network": self.network.state_dict(),
            "ema": self.ema.network.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "random": torch.get_rng_state(),
        }

    def save(self) -> None:
        """Write `checkpoint.pt`; the old one stays until the new one is whole. Process 0 alone does."""
        if self.ranks.rank:
            return
        path = self.out / "checkpoint.pt"
        temporary = path.with_suffix(".part")
        torch.save(self.state(), temporary)
        os.replace(temporary, path)

    def resume(self) -> bool:
        """Go on from `checkpoint.pt`, if there is one."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True, map_location=self.ranks.device)
        self.network.load_state_dict(state["network"])
        self.ema.network.load_state_dict(state["ema"])
        self.ema.updates = state["ema_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.steps = state["step"], state["steps"]
        torch.set_rng_state(state["random"].cpu())
        return True

    def fit(self, *, minutes: float | None = None, stop_step: int | None = None, workers: int = 1) -> None:
        """Train until the schedule ends, ``stop_step`` is reached, or a file named STOP appears in the run's folder.

        Args:
            minutes: Wall time that is left, pauses included: the length of the schedule is re-planned to end in time.
            stop_step: Pause here.
            workers: Processes that draw batches.
        """
        config, deadline = self.config, None if minutes is None else time.time() + 60 * minutes
        held = None
        feed, data = None, None
        train_log = CsvLog(self.out / "train.csv", TRAIN_COLUMNS)
        validation_log = CsvLog(self.out / "validation.csv", VALIDATION_COLUMNS)
        shown: list[dict[str, float]] = []
        mark, mark_step, pace = time.time(), self.step, None
        stop = self.out / "STOP"
        while self.step < (self.steps if stop_step is None else min(stop_step, self.steps)):
            if feed is None or self.data is not data:
                data = self.data
                drawn = TrainingBatches(self.library, data, config.seed, rank=self.ranks.rank)
                feed = batches(drawn, self.step, workers=workers)
            batch = next(feed)
            with without_body(self.network) if self.step < config.head_steps else nullcontext():
                shown.append(self.train_step(batch))
            first = self.ranks.rank == 0
            if self.step % config.log_steps == 0 and first:
                train_log.write({"step": self.step, "steps": self.steps, "time": time.time()} | mean_of(shown))
                shown = []
            if deadline is not None and self.step - mark_step >= config.replan_steps:
                latest = (time.time() - mark) / (self.step - mark_step)
                pace = latest if pace is None else 0.7 * pace + 0.3 * latest
                self.steps = steps_that_fit(self.step, deadline - time.time(), pace)
                mark, mark_step = time.time(), self.step
            self.steps, stopping = self.ranks.follow_first(self.steps, stop.exists())
            if self.step % config.checkpoint_steps == 0 or self.step == self.steps or stopping:
                self.save()
            if first and (self.step % config.validate_steps == 0 or self.step == self.steps):
                held = held or validation_examples(Library(self.library.folder, "held"), config.data)
                with without_body(self.ema.network) if self.step < config.head_steps else nullcontext():
                    scores = self.validate(held)
                validation_log.write({"step": self.step, "time": time.time()} | scores)
                log.info("step %d of %d: %s", self.step, self.steps, {k: round(v, 2) for k, v in scores.items()})
            if stopping:
                if first:
                    stop.unlink()
                log.info("stopped at step %d", self.step)
                return
        self.save()


def has_flow(network: VRT) -> bool:
    """Whether a network has an optical flow network inside."""
    return network.uses_flows or network.config.middle_flow


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Average each column over the rows that have it."""
    columns = {name: [row[name] for row in rows if name in row] for row in rows for name in row}
    return {name: sum(values) / len(values) for name, values in columns.items()}


class CsvLog:
    """Rows appended to a CSV file."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        """Append to ``path`` if it exists, else begin it with ``names`` as its header."""
        self.path, self.names = path, names

    def write(self, row: dict[str, float]) -> None:
        """Append a row; what it lacks stays empty."""
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.names)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
