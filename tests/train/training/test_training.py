import dataclasses
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from tests.train.conftest import NETWORK
from vrt_core import MODELS, build_network, find_model
from vrt_core.models import card_for_file, load_network
from vrt_train.data import dataset
from vrt_train.data.config import DataConfig
from vrt_train.data.dataset import TrainingBatches
from vrt_train.data.library import Library
from vrt_train.evaluation.metrics import psnr, ssim
from vrt_train.export import export
from vrt_train.training.config import CONFIGS, TrainConfig, find_config
from vrt_train.training.distributed import ProcessGroup
from vrt_train.training.ema import EMA
from vrt_train.training.flow_pretraining import DIFFERENCE_GAIN, FLOW_GAIN, fold_gains
from vrt_train.training.losses import charbonnier, flow_loss, shrink_flow
from vrt_train.training.schedule import learning_rate, steps_that_fit
from vrt_train.training.trainer import Trainer
from vrt_train.training.warm_start import PRETRAINED, warm_start

CONFIG = TrainConfig(
    network=NETWORK,
    data=DataConfig(num_frames=2, crop_px=32),
    steps=6,
    warmup=2,
    flow_frozen_steps=2,
    log_steps=1,
    checkpoint_steps=3,
    validate_steps=1000,
)


def test_resumed_run_equals_the_uninterrupted_one(data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "NUM_VALIDATION", 1)
    weights = {}
    config = dataclasses.replace(CONFIG, final_data=DataConfig(num_frames=3, crop_px=32), final_share=0.4)
    for name, pauses in (("whole", [6]), ("paused", [3, 5, 6])):
        out = tmp_path / name
        out.mkdir()
        for i, stop_step in enumerate(pauses):
            trainer = Trainer(config, Library(data_folder, "train"), out)
            assert trainer.resume() is (i > 0)
            trainer.fit(stop_step=stop_step, workers=0)
            weights[name] = trainer.state()
    assert weights["whole"]["step"] == weights["paused"]["step"] == 6
    for part in ("network", "ema"):
        for key, value in weights["whole"][part].items():
            assert torch.equal(value, weights["paused"][part][key]), key
    logs = [(tmp_path / name / "train.csv").read_text().splitlines() for name in ("whole", "paused")]
    assert len(logs[0]) == len(logs[1]) == 7  # a header and six steps
    assert [row.split(",")[3:] for row in logs[0]] == [row.split(",")[3:] for row in logs[1]]  # all but the time


def train_two_steps(rank: int, count: int, folder: str, data_folder) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count)
    out = Path(folder) / "together"
    trainer = Trainer(CONFIG, Library(data_folder, "train"), out, processes=ProcessGroup(rank, count))
    trainer.fit(stop_step=2, workers=0)
    torch.save(trainer.network.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_that_train_together_keep_the_same_weights(data_folder, tmp_path):
    (tmp_path / "together").mkdir()
    spawn(train_two_steps, (2, str(tmp_path), data_folder), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[key], two[key]) for key in one)
    alone = Trainer(CONFIG, Library(data_folder, "train"), tmp_path)
    alone.fit(stop_step=2, workers=0)
    assert any(not torch.equal(one[key], value) for key, value in alone.network.state_dict().items())
    assert len((tmp_path / "together" / "train.csv").read_text().splitlines()) == 3  # only process 0 writes


@pytest.mark.parametrize("task", ["sr", "deblur", "interpolate"])
def test_every_task_trains_and_resumes_where_it_stopped(data_folder, tmp_path, monkeypatch, task):
    monkeypatch.setattr(dataset, "NUM_VALIDATION", 1)
    network = NETWORK | {"nonblind_denoising": False}
    if task == "interpolate":
        network |= {"pa_frames": 0, "img_size": [4, 32, 32], "head_channels": 8, "middle_flow": True}
    if task == "deblur":
        network |= {"shutters": [0.5, 1.0]}
    if task == "sr":
        network |= {"upscale": 2, "head_channels": 8}
    data = DataConfig(
        task=task,
        scale=2,
        num_frames=4 if task == "interpolate" else 2,
        crop_px=32,
        film_share=0 if task == "deblur" else 0.5,
    )
    head_steps = 0 if task == "interpolate" else 1  # with a validation during these steps
    config = dataclasses.replace(
        CONFIG, network=network, data=data, head_steps=head_steps, steps=3, validate_steps=1 if head_steps else 1000
    )
    weights = []
    for name, pauses in (("whole", [3]), ("paused", [2, 3])):
        out = tmp_path / name
        out.mkdir()
        for stop_step in pauses:
            trainer = Trainer(config, Library(data_folder, "train"), out)
            trainer.resume()
            trainer.fit(stop_step=stop_step, workers=0)
        weights.append(torch.load(out / "checkpoint.pt", weights_only=True)["ema"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_recomputed_stages_give_the_same_gradients(data_folder, tmp_path):
    gradients = []
    for checkpointing in (False, True):
        config = dataclasses.replace(CONFIG, checkpointing=checkpointing, flow_frozen_steps=0)
        trainer = Trainer(config, Library(data_folder, "train"), tmp_path)
        trainer.train_step(TrainingBatches(trainer.library, config.data, 0)[0])
        gradients.append([p.grad for p in trainer.network.parameters()])
    for stored, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(stored, recomputed)


def test_warm_start_copies_parameters_that_fit(tmp_path):
    path = PRETRAINED / "denoise-third.safetensors"
    card = card_for_file(path)
    config = dict(card.config) | {"nonblind_denoising": False, "upscale": 4, "head_channels": 8}
    network, source = build_network(**config), load_network(card, path)
    missing = warm_start(network, "denoise-third")
    assert {name.split(".")[0] for name in missing} == {"conv_first", "conv_before_upsample", "upsample", "conv_last"}
    assert torch.equal(network.conv_first.weight, source.get_parameter("conv_first.weight")[:, :27])
    assert torch.equal(network.get_parameter("stage4.linear1.weight"), source.get_parameter("stage4.linear1.weight"))
    assert not network.conv_last.weight.any()
    clip = torch.rand(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        enlarged = nn.functional.interpolate(clip[0], scale_factor=4, mode="bilinear")
        torch.testing.assert_close(network(clip)[0], enlarged)


def test_a_network_with_a_prior_starts_with_the_prior():
    path = PRETRAINED / "denoise-third.safetensors"
    card = card_for_file(path)
    network = build_network(**dict(card.config) | {"prior_step_px": 6})
    assert warm_start(network, "denoise-third") == ["conv_first.weight"]
    weight = load_network(card, path).conv_first.weight  # frame, warped neighbours, noise level
    assert torch.equal(network.conv_first.weight[:, :28], weight)
    clip = torch.rand(1, 5, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network(clip), network.append_prior(clip)[:, :, 4:])


def test_warm_start_rejects_weights_that_have_changed():
    small = find_model("denoise-small")
    network = build_network(**small.config)
    assert warm_start(network, "denoise-small", small.sha256) == []
    with pytest.raises(ValueError, match=f"'denoise-small'.*{small.sha256}.*{'0' * 64}"):
        warm_start(network, "denoise-small", "0" * 64)
    with pytest.raises(ValueError, match="start_sha256"):
        warm_start(network, "denoise-first", "0" * 64)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*_small*.toml")), ids=lambda path: path.stem)
def test_starting_weights_of_a_recipe_cannot_change_unnoticed(path):
    config = TrainConfig.read(path)
    if config.start_from is None or (PRETRAINED / f"{config.start_from}.safetensors").is_file():
        assert config.start_sha256 is None  # pretrained weights never change
    else:
        assert config.start_sha256 == find_model(config.start_from).sha256


def test_deeper_network_starts_with_the_output_of_the_shallower_one():
    path = PRETRAINED / "denoise-first.safetensors"
    card = card_for_file(path)
    source = load_network(card, path)
    deep = build_network(**dict(card.config) | {"depths": [4] * 7 + [2]})
    assert warm_start(deep, "denoise-first") == []
    assert sum(p.numel() for p in deep.parameters()) > sum(p.numel() for p in source.parameters())
    clip = torch.rand(1, 3, 4, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(deep(clip), source(clip), atol=1e-5, rtol=1e-4)


def test_loss_falls_on_one_batch(data_folder, tmp_path):
    config = dataclasses.replace(CONFIG, learning_rate=3e-3, steps=1000, warmup=1, flow_frozen_steps=1000)
    trainer = Trainer(config, Library(data_folder, "train"), tmp_path)
    batch = TrainingBatches(trainer.library, dataclasses.replace(config.data, sigma_255=(40, 40)), 0)[0]
    losses = [trainer.train_step(batch)["loss"] for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_flow_network_is_trained_only_after_its_frozen_steps(data_folder, tmp_path):
    trainer = Trainer(CONFIG, Library(data_folder, "train"), tmp_path)
    data = TrainingBatches(trainer.library, dataclasses.replace(CONFIG.data, film_share=0.0), 0)
    before = next(trainer.network.spynet.parameters()).detach().clone()
    for step in range(2):
        trainer.train_step(data[step])
    assert torch.equal(next(trainer.network.spynet.parameters()), before)
    trainer.train_step(data[2])
    assert not torch.equal(next(trainer.network.spynet.parameters()), before)


def test_stop_file_ends_the_run_with_a_checkpoint(data_folder, tmp_path):
    trainer = Trainer(CONFIG, Library(data_folder, "train"), tmp_path)
    (tmp_path / "STOP").touch()
    trainer.fit(workers=0)
    assert trainer.step == 1
    assert (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "STOP").exists()


def test_export_writes_averaged_weights_that_load(data_folder, tmp_path):
    from safetensors.torch import load_file

    trainer = Trainer(CONFIG, Library(data_folder, "train"), tmp_path)
    trainer.train_step(TrainingBatches(trainer.library, CONFIG.data, 0)[0])
    trainer.save()
    card = {
        "name": "small",
        "task": "denoise",
        "description": "a test",
        "window_frames": 4,
        "overlap_frames": 0,
        "licence": "Apache-2.0",
        "source": "a test",
        "file": "small.safetensors",
        "config": {},
        "bytes": None,
        "sha256": None,
        "parameters": None,
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"models": [card]}))
    path = export(tmp_path / "checkpoint.pt", "small", tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())["models"][0]
    assert written["bytes"] == path.stat().st_size
    network = build_network(**written["config"])
    network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    for average, stored in zip(trainer.ema.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(average.half().float(), stored)
    with pytest.raises(KeyError, match="large"):
        export(tmp_path / "checkpoint.pt", "large", tmp_path)


def test_average_follows_fast_at_first_and_slowly_later():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    ema = EMA(network, decay=0.99)
    nn.init.ones_(network.weight)
    ema.update(network)
    assert float(next(ema.network.parameters())) == pytest.approx(1 - 1 / 11)
    ema.updates = 10**6
    nn.init.constant_(network.weight, 2.0)
    before = float(next(ema.network.parameters()))
    ema.update(network)
    assert float(next(ema.network.parameters())) == pytest.approx(before + 0.01 * (2 - before))


def test_learning_rate_warms_up_and_decays():
    rates = [learning_rate(step, 1000, 1e-3, warmup=100) for step in range(1001)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == pytest.approx(1e-3, rel=1e-3)
    assert rates.index(max(rates)) in (99, 100)
    assert rates[550] == pytest.approx(0.51e-3, rel=1e-2)
    assert rates[1000] == pytest.approx(2e-5)
    assert all(a >= b for a, b in pairwise(rates[100:]))


def test_steps_that_fit():
    assert steps_that_fit(100, 60.0, 2.0) == 130
    assert steps_that_fit(100, -5.0, 2.0) == 101


def test_charbonnier():
    x = torch.rand(2, 3)
    assert float(charbonnier(x, x)) == pytest.approx(1e-3)
    assert float(charbonnier(x + 0.5, x)) == pytest.approx(0.5, rel=1e-4)


def test_flow_loss_is_in_full_resolution_pixels():
    target = torch.ones(1, 2, 32, 32)
    exact = [shrink_flow(target, level) for level in range(4)]
    assert float(flow_loss(exact, target)) < 0.01
    zero = [torch.zeros_like(flow) for flow in exact]
    assert float(flow_loss(zero, target)) == pytest.approx(math.sqrt(2), rel=1e-2)


def test_folded_level_takes_the_input_of_spynet():
    level = nn.Sequential(nn.Conv2d(8, 4, 7, padding=3), nn.ReLU(), nn.Conv2d(4, 2, 7, padding=3))
    ref, supp, flow = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), torch.randn(1, 2, 16, 16)
    expected = level(torch.cat((ref, DIFFERENCE_GAIN * (supp - ref), FLOW_GAIN * flow), dim=1))
    fold_gains(level)
    torch.testing.assert_close(level(torch.cat((ref, supp, flow), dim=1)), expected, atol=1e-4, rtol=1e-4)


def test_psnr_and_ssim():
    target = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    target = (target * 200 + 20).round() / 255
    assert psnr(target + 5 / 255, target) == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert ssim(target, target) == pytest.approx(1)
    noise = 0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    assert ssim(target + noise, target) == pytest.approx(plain_ssim(target + noise, target), abs=1e-9)
    assert ssim(target + noise, target) > ssim(target + 2 * noise, target)


def plain_ssim(output, target):
    """Equation 13 of Wang et al. (2004), window by window."""
    x, y = (np.round(np.clip(clip.numpy(), 0, 1) * 255).astype(float) for clip in (output, target))
    gaussian = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = np.outer(gaussian, gaussian) / gaussian.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for t, c, i, j in np.ndindex(*x.shape[:2], x.shape[2] - 10, x.shape[3] - 10):
        a, b = (image[t, c, i : i + 11, j : j + 11] for image in (x, y))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        values.append(luminance * (2 * covariance + c2) / (var_a + var_b + c2))
    return np.mean(values)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_fit_their_networks(path):
    config = TrainConfig.read(path)
    assert find_config(path.stem.replace("_", "-")) == path
    with torch.device("meta"):
        network = build_network(**config.network)
    data = config.data
    assert network.config.nonblind_denoising == (data.task == "denoise")
    assert network.config.upscale == (data.scale if data.task == "sr" else 1)
    assert (network.num_input_frames == data.num_frames) == (data.task == "interpolate")
    assert data.crop_px >= network.min_size_px
    official = [card for card in MODELS.values() if path.stem[0] == "0" and card.name[:3] == path.stem[:3]]
    assert all(network.config == build_on_meta(card.config).config for card in official)
    assert official or "small" in path.stem


def build_on_meta(config):
    with torch.device("meta"):
        return build_network(**config)


def test_error_for_an_unknown_configuration_lists_the_known_ones():
    with pytest.raises(ValueError, match="sr_small"):
        find_config("super-small")
