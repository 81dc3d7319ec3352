"""Recording exported weights in the manifest."""

import json

import pytest
import torch

from tests.helpers.weights import TINY, tiny_state
from vrt_core import WeightsError
from vrt_core.models import inspect_weights, load_weights, save_weights
from vrt_train.export import record_weights


def test_recording_new_weights_updates_the_manifest(tmp_path):
    manifest = tmp_path / "manifest.json"
    old = {"name": "other", "task": "sr", "config": {"depths": [8, 8, 4]}, "window_frames": 6}
    manifest.write_text(json.dumps({"models": [old], "components": []}))
    with pytest.raises(WeightsError, match=r"cannot read weights .*tiny\.safetensors"):
        record_weights("tiny", manifest, task="deblur", file="tiny.safetensors")
    save_weights(tmp_path / "tiny.safetensors", tiny_state(), dtype=torch.float16)
    facts = {"task": "deblur", "config": TINY.config, "file": "tiny.safetensors", "shipped": True}
    card = record_weights("tiny", manifest, **facts)
    assert card.sha256 == inspect_weights(tmp_path / "tiny.safetensors").sha256
    assert card.bytes == (tmp_path / "tiny.safetensors").stat().st_size
    assert card.parameters == sum(tensor.numel() for tensor in tiny_state().values())
    assert load_weights(card, folder=tmp_path).keys() == tiny_state().keys()
    written = json.loads(manifest.read_text())
    assert written["models"][0] == old
    assert '"depths": [8, 8, 4]' in manifest.read_text()
    with pytest.raises(WeightsError, match="does not fit tiny"):
        record_weights("tiny", manifest, config={**TINY.config, "embed_dims": [16] * 8})
    assert json.loads(manifest.read_text()) == written
