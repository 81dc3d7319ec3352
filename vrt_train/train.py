"""Command that trains a model: ``vrt train sr-small``, or ``python -m vrt_train.train sr-small``.

Downloads and prepares the training data first if they are missing, and resumes a run that was interrupted. Under
``torchrun``, all processes train one model together, each on its own batches.
"""

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from .data.library import Library
from .data.preparation import prepare
from .training.config import TrainConfig, find_config
from .training.distributed import ProcessGroup
from .training.flow_pretraining import prepare_spynet
from .training.trainer import Trainer

log = logging.getLogger(__name__)


def command(
    config: Annotated[str, typer.Argument(help="A TOML file, or the name of one that comes along, such as sr-small.")],
    data: Annotated[Path, typer.Option(help="Training data; fetched and prepared if missing (5 GB).")] = Path("data"),
    out: Annotated[Path | None, typer.Option(help="Folder of the run: checkpoints, logs. [default: runs/NAME]")] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time left; the schedule is fitted to it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the schedule, instead of the one planned.")] = None,
    stop_step: Annotated[int | None, typer.Option(help="Pause at this step.")] = None,
    flow: Annotated[Path | None, typer.Option(help="Pre-trained SpyNet (.pt); trained first if missing.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; must divide the batch.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that draw batches.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda; with torchrun one for each process.")] = "auto",
) -> None:
    """Train a model, or go on training it. A file named STOP in the run's folder ends the run with a checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    torch.set_num_threads(1)
    path = find_config(config)
    settings = TrainConfig.read(path)
    out = out or Path("runs") / path.stem
    out.mkdir(parents=True, exist_ok=True)
    processes = ProcessGroup.setup(device)
    prepare_if_missing(data, processes)
    trainer = Trainer(settings, Library(data, "train"), out, threads=threads, processes=processes)
    start_or_resume(trainer, flow or out / "spynet.pt")
    if steps is not None:
        trainer.steps = steps
    num_parameters = sum(p.numel() for p in trainer.network.parameters())
    log.info("%.2f million parameters, %d steps, seed %d", num_parameters / 1e6, trainer.steps, settings.seed)
    trainer.fit(minutes=minutes, stop_step=stop_step, workers=workers)
    processes.cleanup()


def prepare_if_missing(data: Path, processes: ProcessGroup) -> None:
    """Prepare the training data of the shipped models in a folder without data.

    Raises:
        ValueError: If the data are missing and several processes would prepare them at the same time.
    """
    if (data / "data.json").exists():
        return
    if processes.world_size > 1:
        raise ValueError(f"data ({data}) holds no data.json; make it first: python -m vrt_train.prepare --out {data}")
    prepare(data, data / "packages")


def start_or_resume(trainer: Trainer, flow: Path) -> None:
    """Load the checkpoint of a run; for a new run load SpyNet from ``flow``, and pre-train it first if missing."""
    if trainer.resume():
        log.info("resuming at step %d of %d", trainer.step, trainer.steps)
    elif trainer.config.flow_pretraining:
        if not flow.exists():
            spynet = trainer.network.spynet.cpu()
            prepare_spynet(spynet, trainer.library.photos, trainer.config)
            torch.save(spynet.state_dict(), flow)
            spynet.to(trainer.processes.device)
        trainer.load_flow(torch.load(flow, weights_only=True))


if __name__ == "__main__":
    typer.run(command)
