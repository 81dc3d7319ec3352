"""Load VRT Model: its choices, its messages about missing files, and when it loads again."""

import os
import shutil
from pathlib import Path

import folder_paths
import pytest
import torch

from tests.nodes.fake import FakeComfyUI
from vrt_core import MODELS, WeightsError
from vrt_core.models import find_weights
from vrt_nodes.load_node import LoadModel
from vrt_nodes.model_files import add_model_folder, find_model_files, model_names, model_state

OFFICIAL = "008_VRT_videodenoising_DAVIS"


def test_lists_known_models_first_then_files_of_ones_own(comfy: FakeComfyUI) -> None:
    (comfy.base / "models/vrt/put_models_here.txt").touch()
    (comfy.base / "models/vrt" / MODELS[OFFICIAL].file).touch()  # there under its name already
    names = model_names()
    assert names == [*MODELS, "deblur.safetensors", "denoise.safetensors", "interpolate.safetensors", "sr.safetensors"]
    assert names[0] == "denoise-small"  # what a new node shows must work at once


def test_folders_of_the_user_are_kept(comfy: FakeComfyUI, tmp_path: Path) -> None:
    """Folders of extra_model_paths.yaml may come first, and accept every file."""
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(comfy.path("sr"), mine / "own.safetensors")
    folder_paths.folder_names_and_paths.clear()
    folder_paths.add_model_folder_path("vrt", str(mine))
    add_model_folder()
    assert {"own.safetensors", "sr.safetensors"} <= set(model_names())
    assert find_model_files("own.safetensors") == [(None, mine / "own.safetensors")]


@pytest.mark.parametrize("name", [card.name for card in MODELS.values() if card.shipped])
def test_every_shipped_model_loads(comfy: FakeComfyUI, name: str) -> None:
    model = LoadModel.execute(name, "auto")[0]
    assert model.tasks == tuple(MODELS[part].task for part in MODELS[name].links or (name,))
    assert model.dtype == torch.float32  # on a CPU


def test_a_chain_loads_all_its_networks(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    links = MODELS["010_VRT_videostsr"].links
    for link in links:
        (comfy.base / "models/vrt" / f"{link}.safetensors").write_bytes(b"x" * 8)
    assert [card and card.name for card, _ in find_model_files("010_VRT_videostsr")] == list(links)


def test_a_missing_official_file_is_asked_for_with_the_command(comfy: FakeComfyUI) -> None:
    card = MODELS[OFFICIAL]
    with pytest.raises(WeightsError) as error:
        LoadModel.execute(OFFICIAL, "auto")
    text = str(error.value)
    target = comfy.base / "models/vrt" / card.file
    assert f'curl -L --create-dirs -o "{target}" "{card.url}"' in text
    assert card.licence in text
    assert LoadModel.validate_inputs(OFFICIAL) == text  # already before the run
    target.write_bytes(b"some")
    assert LoadModel.validate_inputs(OFFICIAL) is True


def test_a_missing_file_of_ones_own_is_named(comfy: FakeComfyUI) -> None:
    message = LoadModel.validate_inputs("gone.safetensors")
    assert "gone.safetensors" in str(message)
    assert str(comfy.base / "models/vrt") in str(message)


def test_a_damaged_file_is_named(comfy: FakeComfyUI) -> None:
    path = comfy.base / "models/vrt/bad.safetensors"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError, match=r"bad\.safetensors is a web page"):
        LoadModel.execute("bad.safetensors", "auto")


def test_a_shipped_model_is_compared_with_its_published_sha256(comfy: FakeComfyUI) -> None:
    card = MODELS["sr-small"]
    content = bytearray(find_weights(card).read_bytes())
    content[-1] ^= 1
    (comfy.base / "models/vrt" / card.file).write_bytes(content)  # which comes before the shipped one
    with pytest.raises(WeightsError, match=rf"{card.file} is damaged or was changed.*in the model list"):
        LoadModel.execute("sr-small", "auto")


def test_files_that_the_command_line_downloaded_are_found(comfy: FakeComfyUI) -> None:
    folder = comfy.base / "downloaded"
    folder.mkdir()
    (folder / f"{OFFICIAL}.safetensors").write_bytes(b"x")
    assert find_weights(MODELS[OFFICIAL]).parent == folder
    assert find_model_files(OFFICIAL) == [(MODELS[OFFICIAL], folder / f"{OFFICIAL}.safetensors")]


def test_a_new_file_of_the_same_name_is_loaded_again(comfy: FakeComfyUI) -> None:
    path = comfy.base / "models/vrt/mine.safetensors"
    shutil.copy(comfy.path("sr"), path)
    before = LoadModel.fingerprint_inputs("mine.safetensors", "auto")
    assert LoadModel.fingerprint_inputs("mine.safetensors", "auto") == before
    assert model_state("denoise-small") != before
    os.utime(path, (1, 1))
    assert LoadModel.fingerprint_inputs("mine.safetensors", "auto") != before
