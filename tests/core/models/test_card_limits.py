"""Weight files of strangers: what their cards, numbers and names may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.helpers.weights import TINY, tiny_state
from vrt_core.errors import WeightsError
from vrt_core.models import checkpoint
from vrt_core.models.cards import card_to_json
from vrt_core.models.checkpoint import card_for_file, save_weights
from vrt_core.models.store import load_weights


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "complex64", "bool", "uint16"])
def test_dtypes_that_are_no_usual_floats_are_refused(tmp_path: Path, dtype: str) -> None:
    state = {**tiny_state(), "conv_last.bias": torch.zeros(3).to(getattr(torch, dtype))}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    message = rf"conv_last\.bias is stored as {dtype}, expected float16, bfloat16, float32, float64"
    with pytest.raises(WeightsError, match=message):
        load_weights(TINY, tmp_path / "a.safetensors")


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    state = {**tiny_state(), "conv_last.bias": torch.tensor([1.0, 1e300, 1.0], dtype=torch.float64)}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"conv_last\.bias holds NaN or infinity in float32"):
        load_weights(TINY, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"config": {"depths": [10**9] * 8}}, r"depths \(1000000000\) must be a whole number from 0 to 512"),
        ({"config": {"depths": [300] * 8}}, "depths has 2400 blocks"),
        ({"config": {"flow_channels": [4] * 10**5}}, "flow_channels .* a list of 1 to 16"),
        ({"config": {"depths": {}}}, "depths .* must be a list"),
        ({"config": {"num_heads": [0] * 8}}, "num_heads"),
        ({"config": {"shutters": [[0.5]]}}, "shutters"),
        ({"window_frames": 10**7}, "window_frames' of a model card is 10000000, expected at most 128"),
        ({"scale": 10**9}, "scale"),
        ({"name": "a\x1b[2J"}, "printable"),
        ({"name": "\ud800"}, "printable"),
        ({"description": "x" * 10**6}, "at most 1000"),
    ],
)
def test_a_card_of_impossible_size_is_refused_before_a_network_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict, message: str
) -> None:
    card = json.loads(card_to_json(TINY))
    card.update({**facts, "config": {**card["config"], **facts.get("config", {})}})
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(tiny_state(), path, metadata={"vrt": json.dumps({"card": card})})
    monkeypatch.setattr(checkpoint, "_network_shapes", lambda *_: pytest.fail("a network is built"))
    with pytest.raises(WeightsError, match=message) as caught:
        card_for_file(path)
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize("name", [["a"], {"a": 1}, 7, None, "tiny"])
def test_a_declared_model_of_any_kind_is_no_fault(tmp_path: Path, name: object) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(path, tiny_state(), metadata={"model": name})
    assert load_weights(TINY, path).keys() == tiny_state().keys()


def test_names_in_messages_are_printable_and_short(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file({"\x1b[2J\n" + "x" * 10**5: torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="fits no model known") as caught:
        card_for_file(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize("metadata", ["[" * 10**5, '{"card":' * 10**5, "1" * 5000, '{"a": "' + "x" * 2**21 + '"}'])
def test_metadata_that_json_chokes_on_is_refused(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(tiny_state(), path, metadata={"vrt": metadata})
    with pytest.raises(WeightsError, match=r"mine\.safetensors is damaged"):
        card_for_file(path)
