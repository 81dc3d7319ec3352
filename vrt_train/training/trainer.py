"""Training loop with checkpoints: a resumed run is bit-identical to an uninterrupted one."""

import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vrt_core import VRT, build_network, find_model
from vrt_core.models import load_weights

from ..data.config import DataConfig
from ..data.dataset import TrainingBatches, batches, validation_examples
from ..data.examples import Example, baseline
from ..data.library import Library
from ..evaluation.metrics import psnr
from .config import TrainConfig
from .csv_log import CsvLog, mean_of
from .distributed import ProcessGroup
from .ema import EMA
from .losses import interpolation_loss, restoration_loss
from .schedule import Deadline, learning_rate
from .stages import checkpoint_stages, skip_stages
from .warm_start import warm_start

log = logging.getLogger(__name__)

TRAIN_COLUMNS = ("step", "steps", "time", "learning_rate", "loss", "gradient_norm", "flow_error_px")
VALIDATION_COLUMNS = ("step", "time", "film_psnr", "film_baseline_psnr", "photos_psnr", "photos_baseline_psnr")


class Trainer:
    """Trains a network on the clips of a `Library`."""

    def __init__(
        self,
        config: TrainConfig,
        library: Library,
        out: Path,
        *,
        threads: int = 1,
        processes: ProcessGroup | None = None,
    ) -> None:
        """Build the network and the optimiser at step 0; ``resume`` then loads a checkpoint.

        Args:
            config: Settings of the run.
            library: Training data.
            out: Folder of the run; must exist.
            threads: Microbatches of equal size that are computed at the same time, by one CPU thread each.
            processes: Processes that train together, each on its own batches; None for this one alone.

        Raises:
            ValueError: If the batch is not a multiple of ``threads``.
        """
        self.processes = processes or ProcessGroup()
        for data in filter(None, (config.data, config.final_data)):
            if data.batch % threads:
                raise ValueError(f"threads ({threads}) must divide the batch ({data.batch} clips)")
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        torch.manual_seed(config.seed)
        self.config, self.out, self.library = config, out, library
        self.network = build_network(**config.network).train()
        if config.start_from is not None:
            missing = warm_start(self.network, config.start_from, config.start_sha256)
            log.info("started from %s, except %d parameter tensors", config.start_from, len(missing))
        if config.flow_from is not None:
            self.network.spynet.load_state_dict(load_weights(find_model(config.flow_from, components=True)))
        if config.head_steps:  # so that the output does not change when the stages join in
            nn.init.zeros_(self.network.conv_after_body.weight)
            nn.init.zeros_(self.network.conv_after_body.bias)
        self.network.to(self.processes.device)
        self.ema = EMA(self.network, config.ema_decay)
        if config.checkpointing:
            checkpoint_stages(self.network)
        flow_parameters = list(self.network.spynet.parameters()) if has_flow(self.network) else []
        flow_ids = {id(p) for p in flow_parameters}
        body = [p for p in self.network.parameters() if id(p) not in flow_ids]
        self.optimizer = torch.optim.AdamW(
            [{"params": body, "ratio": 1.0}, {"params": flow_parameters, "ratio": config.flow_learning_rate_ratio}],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
        )
        self.step, self.steps = 0, config.steps
        self._validation: dict[str, list[Example]] | None = None

    @property
    def data(self) -> DataConfig:
        """Configuration of the next batch."""
        final = self.config.final_data
        return final if final and self.step >= (1 - self.config.final_share) * self.steps else self.config.data

    def load_flow(self, state: dict[str, Tensor]) -> None:
        """Load pre-trained weights of SpyNet."""
        self.network.spynet.load_state_dict(state)
        self.ema.network.get_submodule("spynet").load_state_dict(state)

    def train_step(self, batch: Example) -> dict[str, float]:
        """Take one step, each thread on one microbatch; return the row of the log."""
        batch = Example(*(field.to(self.processes.device) for field in batch))
        lr = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["ratio"]
        if has_flow(self.network):
            self.network.spynet.requires_grad_(self.step >= self.config.flow_frozen_steps)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        microbatches = [Example(*parts) for parts in zip(*(field.chunk(self.threads) for field in batch), strict=True)]
        results = list(self._pool.map(lambda microbatch: self._gradients(microbatch, parameters), microbatches))
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, *parts in zip(parameters, *(gradients for gradients, _ in results), strict=True):
            parameter.grad = torch.stack(parts).mean(dim=0) if len(parts) > 1 else parts[0]
        self.processes.average([parameter.grad for parameter in parameters if parameter.grad is not None])
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        if norm.isfinite():
            self.optimizer.step()
            self.ema.update(self.network)
        else:
            log.warning("step %d: gradient is not finite, step skipped", self.step)
        self.step += 1
        return {"learning_rate": lr, "gradient_norm": float(norm)} | mean_of([terms for _, terms in results])

    def _learning_rate(self) -> float:
        """Return the learning rate of the next step, with a second warm-up when the stages join in."""
        config = self.config
        lr = learning_rate(
            self.step, self.steps, config.learning_rate, warmup=config.warmup, final_ratio=config.final_ratio
        )
        if self.step >= config.head_steps:
            lr *= min(1.0, (self.step - config.head_steps + 1) / max(config.warmup, 1))
        return lr

    def _gradients(self, batch: Example, parameters: list[nn.Parameter]) -> tuple[Sequence[Tensor], dict[str, float]]:
        """Return the gradients of a microbatch, and the terms of its loss."""
        loss_function = interpolation_loss if self.config.data.task == "interpolate" else restoration_loss
        loss, terms = loss_function(self.network, batch, self.config)
        return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True), terms

    @torch.inference_mode()
    def validate(self, examples: dict[str, list[Example]]) -> dict[str, float]:
        """Return the PSNR of the averaged weights and of the baseline, in dB, by kind of clip."""
        scores: dict[str, float] = {}
        task, scale = self.config.data.task, self.config.data.scale
        for kind, pairs in examples.items():
            network_psnr, baseline_psnr = 0.0, 0.0
            for inputs, target, *_ in pairs:
                baseline_psnr += psnr(baseline(task, inputs, scale), target) / len(pairs)
                output = self.ema.network(inputs[None].to(self.processes.device))[0].cpu()
                network_psnr += psnr(output, target) / len(pairs)
            scores |= {f"{kind}_psnr": network_psnr, f"{kind}_baseline_psnr": baseline_psnr}
        return scores

    def state(self) -> dict[str, Any]:
        """Return the content of a checkpoint."""
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
        """Replace `checkpoint.pt` atomically; does nothing in processes other than rank 0."""
        if self.processes.rank:
            return
        path = self.out / "checkpoint.pt"
        temporary = path.with_suffix(".part")
        torch.save(self.state(), temporary)
        os.replace(temporary, path)

    def resume(self) -> bool:
        """Load `checkpoint.pt`; return whether it exists."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True, map_location=self.processes.device)
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
            minutes: Wall time of the rest of the run, pauses included: the schedule is planned again to end in time.
            stop_step: Step at which the run pauses.
            workers: Data loader processes.
        """
        config, is_first = self.config, self.processes.rank == 0
        deadline = None if minutes is None else Deadline(60 * minutes, config.replan_steps, self.step)
        train_log = CsvLog(self.out / "train.csv", TRAIN_COLUMNS)
        validation_log = CsvLog(self.out / "validation.csv", VALIDATION_COLUMNS)
        stop_file = self.out / "STOP"
        rows: list[dict[str, float]] = []
        loader, data = None, None
        while self.step < (self.steps if stop_step is None else min(stop_step, self.steps)):
            if loader is None or self.data is not data:
                data = self.data
                dataset = TrainingBatches(self.library, data, config.seed, rank=self.processes.rank)
                loader = batches(dataset, self.step, workers=workers)
            batch = next(loader)
            with self._head_phase(self.network):
                rows.append(self.train_step(batch))
            if self.step % config.log_steps == 0 and is_first:
                train_log.write({"step": self.step, "steps": self.steps, "time": time.time()} | mean_of(rows))
                rows = []
            if deadline is not None:
                self.steps = deadline.plan(self.step, self.steps)
            self.steps, must_stop = self.processes.broadcast(self.steps, stop_file.exists())
            if self.step % config.checkpoint_steps == 0 or self.step == self.steps or must_stop:
                self.save()
            if is_first and (self.step % config.validate_steps == 0 or self.step == self.steps):
                self._log_validation(validation_log)
            if must_stop:
                if is_first:
                    stop_file.unlink()
                log.info("stopped at step %d", self.step)
                return
        self.save()

    def _head_phase(self, network: nn.Module) -> AbstractContextManager[None]:
        """Leave out the stages of a network during the first ``head_steps`` steps."""
        return skip_stages(network) if self.step < self.config.head_steps else nullcontext()

    def _log_validation(self, validation_log: CsvLog) -> None:
        if self._validation is None:
            self._validation = validation_examples(Library(self.library.folder, "val"), self.config.data)
        with self._head_phase(self.ema.network):
            scores = self.validate(self._validation)
        validation_log.write({"step": self.step, "time": time.time()} | scores)
        log.info("step %d of %d: %s", self.step, self.steps, {k: round(v, 2) for k, v in scores.items()})


def has_flow(network: VRT) -> bool:
    """Return whether a network contains SpyNet."""
    return network.uses_flows or network.config.middle_flow
