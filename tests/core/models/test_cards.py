"""The manifest and its cards."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from vrt_core.errors import InputError, WeightsError
from vrt_core.models.cards import COMPONENTS, MODELS, ModelCard, card_from_dict, card_to_json, find_model, read_manifest

ROOT = Path(__file__).parents[3]
LAYOUTS = json.loads((ROOT / "tests/golden/layouts.json").read_text())
OFFICIAL = [name for name in LAYOUTS if name[0] == "0"]


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_model_is_listed_as_published(name: str) -> None:
    card = MODELS[name]
    assert card.config == LAYOUTS[name]["config"]
    assert card.scale == LAYOUTS[name]["config"]["upscale"]
    assert card.parameters == sum(math.prod(shape) for shape in LAYOUTS[name]["parameters"].values())
    assert card.url == f"https://github.com/JingyunLiang/VRT/releases/download/v0.0/{name}.pth"
    assert card.licence == "CC-BY-NC-4.0"
    assert not card.shipped
    assert card.window_frames >= 4


def test_interpolation_reads_as_many_frames_as_its_network_takes() -> None:
    card = MODELS["009_VRT_videofi_Vimeo_4frames"]
    assert (card.task, card.window_frames, card.overlap_frames) == ("interpolate", 4, 3)


def test_spynet_is_a_component_with_the_published_digest() -> None:
    card = COMPONENTS["spynet"]
    assert card.bytes == 5_770_711
    assert card.sha256 == "3d2a1287666aa71752ebaedc06999212886ef476f77d691a1b0006107088e714"
    assert card.url is not None
    assert card.url.endswith("/v0.0/spynet_sintel_final-3d2a1287.pth")
    assert "spynet" not in MODELS
    assert find_model("spynet", components=True) is card


def test_space_time_sr_is_a_chain_without_weights() -> None:
    card = find_model("010")
    assert card.task == "space-time-sr"
    assert [MODELS[link].task for link in card.links] == ["sr", "interpolate"]
    assert not card.file
    assert not card.config


def test_shipped_models_have_no_address_and_an_open_licence() -> None:
    shipped = [card for card in MODELS.values() if card.shipped]
    assert "denoise-small" in [card.name for card in shipped]
    for card in shipped:
        assert card.url is None
        assert "NC" not in card.licence
        assert card.file.endswith(".safetensors")


def test_a_unique_prefix_of_a_name_is_enough() -> None:
    assert find_model("001").name == "001_VRT_videosr_bi_REDS_6frames"
    assert find_model("008_vrt_VIDEOdenoising_davis").name == "008_VRT_videodenoising_DAVIS"
    assert find_model("denoise").name == "denoise-small"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("00", "beginning of 9: 001_VRT"),
        ("deblurring", "nearest: 005_VRT_videodeblurring_DVD, 006_VRT_videodeblurring_GoPro"),
        ("dnoise-smal", "nearest: denoise-small"),
        ("", f"known: {', '.join(MODELS)}; "),
        ("xyzzy", "is unknown"),
    ],
)
def test_errors_for_unknown_names_list_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError, match=r"^model ") as caught:
        find_model(name)
    assert message in str(caught.value)


def test_cards_survive_pickle_copy_and_json() -> None:
    for card in (*MODELS.values(), *COMPONENTS.values()):
        assert pickle.loads(pickle.dumps(card)) == card
        assert copy.deepcopy(card) == card
        assert card_from_dict(json.loads(card_to_json(card)), "here") == card
        assert hash(card) == hash(copy.copy(card))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"name": "a/b", "task": "sr"}, "plain file name"),
        ({"name": "a", "task": "sr", "file": "../a.pth"}, "plain file name"),
        ({"name": "a", "task": "colour"}, "must be one of sr, deblur"),
        ({"name": "a", "task": "sr", "window_frames": 4, "overlap_frames": 4}, "below window_frames"),
        ({"name": "a", "task": "sr", "scale": 0}, "at least 1"),
        ({"name": "a", "task": "sr", "scale": 17}, "at most 16"),
        ({"name": "a", "task": "sr", "window_frames": 129}, "at most 128"),
        ({"name": "a", "task": "sr", "licence": "a\nb"}, "printable characters"),
        ({"name": [[[]]], "task": "sr"}, "is a list of 1, expected str"),
        ({"name": "a", "task": "sr", "sha256": "ABC"}, "64 lower-case"),
        ({"name": "a", "task": "sr", "scale": "4"}, "field 'scale' of a model card is '4', expected int"),
        ({"name": "a", "task": "sr", "scale": True}, "expected int"),
        ({"name": "a", "task": "sr", "bytes": 1.5}, "expected int or null"),
        ({"name": "a", "task": "sr", "frames": 4}, "unknown field 'frames'"),
        ({"name": "a"}, "task"),
    ],
)
def test_an_invalid_card_is_refused(facts: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=r"^somewhere") as caught:
        card_from_dict(facts, "somewhere")
    assert message in str(caught.value)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(WeightsError, match=r"list of models .*manifest\.json"):
        read_manifest(path)
    path.write_text(json.dumps({"models": [{"name": "a", "task": "sr", "links": ["b"]}], "components": []}))
    with pytest.raises(WeightsError, match="links to 'b'"):
        read_manifest(path)


def test_converted_file_is_safetensors() -> None:
    assert ModelCard(name="a", task="sr", file="b.pth").converted_file == "a.safetensors"
    assert ModelCard(name="a", task="sr", file="b.safetensors").converted_file == "b.safetensors"


def test_manifest_is_read_on_first_access_not_on_import() -> None:
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "import vrt_core.models.cards as m\n"
        "assert not [p for p in opened if p.endswith('manifest.json')]\n"
        "len(m.MODELS)\n"
        "assert [p for p in opened if p.endswith('manifest.json')]\n"
    )
    run_python(code)


def test_the_package_does_not_load_torch() -> None:
    run_python("import sys, vrt_core.models as m; len(m.COMPONENTS); assert 'torch' not in sys.modules")


def run_python(code: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)
