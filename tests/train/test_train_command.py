import json
import logging

import pytest
import torch

from tests.train.conftest import NETWORK
from vrt_train.train import command, prepare_if_missing
from vrt_train.training import flow_pretraining
from vrt_train.training.distributed import ProcessGroup

CONFIG = """
steps = 2
flow_frozen_steps = 0
log_steps = 1
validate_steps = 1000

[flow_pretraining]
level_steps = 1
joint_steps = 1

[data]
num_frames = 2
crop_px = 32

[network]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG + "\n".join(f"{name} = {json.dumps(value)}" for name, value in NETWORK.items()) + "\n")
    return str(path)


def test_command_pretrains_spynet_once_and_resumes(config, data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr("vrt_train.data.dataset.NUM_VALIDATION", 1)
    calls = []
    pretrain = flow_pretraining.pretrain
    monkeypatch.setattr(flow_pretraining, "pretrain", lambda *args, **kw: calls.append(kw) or pretrain(*args, **kw))
    command(config, data_folder, tmp_path, stop_step=1, workers=0, device="cpu")
    command(config, data_folder, tmp_path, workers=0, device="cpu")
    assert calls == [{"seed": 0, "level_steps": 1, "joint_steps": 1}]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 3  # a header and two steps
    assert len((tmp_path / "validation.csv").read_text().splitlines()) == 2


def test_processes_do_not_prepare_the_data_together(tmp_path):
    with pytest.raises(ValueError, match=r"holds no data\.json"):
        prepare_if_missing(tmp_path / "data", ProcessGroup(0, 2))
