"""Train a model: ``vrt train sr-small``, or ``python -m vrt_train.train sr-small``.

Fetches and prepares the training data first where they are missing. Run again, it goes on where it stopped. Under
``torchrun`` its processes train together, each on batches of its own.
"""

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from .data.dataset import Library
from .prepare import prepare
from .training.config import TrainConfig, find_config
from .training.distributed import Ranks
from .training.flow_pretraining import pretrain, refine_between, refine_blurred
from .training.trainer import Trainer

log = logging.getLogger(__name__)


def train(
    config: str,
    data: Path = Path("data"),
    out: Path | None = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    stop_step: int | None = None,
    flow: Path | None = None,
    threads: int = 1,
    workers: int = 1,
    device: str = "auto",
) -> Path:
    """Train, or go on training, and return the folder of the run.

    Args:
        config: A TOML file, or the name of a configuration that comes with the project.
        data: Folder written by ``prepare``; made if it is not there.
        out: Folder of the run; ``runs/NAME`` if None.
        minutes: Wall time left; the schedule is fitted to it.
        steps: Length of the schedule, instead of the one planned so far.
        stop_step: Pause at this step.
        flow: Pre-trained SpyNet; trained first if the file is missing.
        threads: CPU threads; must divide the batch.
        workers: Processes that draw batches.
        device: "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: If there is no such configuration, or it is wrong.
    """
    path = find_config(config)
    settings = TrainConfig.read(path)
    out = out or Path("runs") / path.stem
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    ranks = Ranks.join(device)
    if not (data / "data.json").exists():
        if ranks.count > 1:
            raise ValueError(
                f"data ({data}) holds no data.json; make it first: python -m vrt_train.prepare --out {data}"
            )
        prepare(data, data / "packages")
    trainer = Trainer(settings, Library(data, "train"), out, threads=threads, ranks=ranks)
    if trainer.resume():
        log.info("going on from step %d of %d", trainer.step, trainer.steps)
    elif settings.flow_pretraining:
        trainer.load_flow(flow_weights(trainer, flow or out / "spynet.pt"))
    if steps is not None:
        trainer.steps = steps
    count = sum(p.numel() for p in trainer.network.parameters())
    log.info("%.2f million parameters, %d steps, seed %d", count / 1e6, trainer.steps, settings.seed)
    trainer.fit(minutes=minutes, stop_step=stop_step, workers=workers)
    ranks.leave()
    return out


def flow_weights(trainer: Trainer, path: Path) -> dict[str, torch.Tensor]:
    """Return pre-trained SpyNet weights from ``path``; train and save them there first if the file is missing."""
    if not path.exists():
        settings = trainer.config
        spynet = trainer.network.spynet.cpu()
        photos, seed, lengths = trainer.library.photos, settings.seed, settings.flow_pretraining
        if settings.data.task == "interpolate":
            refine_between(spynet, photos, seed=seed, **lengths)
        elif settings.data.task == "deblur":
            data = settings.data
            refine_blurred(spynet, photos, shutter=data.shutter, speed_px=data.speed_px, seed=seed, **lengths)
        else:
            pretrain(spynet, photos, seed=seed, **lengths)
        torch.save(spynet.state_dict(), path)
        spynet.to(trainer.ranks.device)
    return torch.load(path, weights_only=True)


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
    train(
        config,
        data,
        out,
        minutes=minutes,
        steps=steps,
        stop_step=stop_step,
        flow=flow,
        threads=threads,
        workers=workers,
        device=device,
    )


if __name__ == "__main__":
    typer.run(command)
