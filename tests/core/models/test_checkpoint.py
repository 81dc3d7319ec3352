"""Reading weight files, matching them with the models, and refusing damaged and malicious files."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.helpers.weights import LAYOUTS, TINY, index_buffers, meta_state, release, tiny_state, write
from vrt_core.errors import WeightsError
from vrt_core.models.cards import COMPONENTS, MODELS, find_model
from vrt_core.models.checkpoint import card_for_file, matching_models, read_checkpoint, save_weights
from vrt_core.models.digests import file_sha256
from vrt_core.models.store import inspect_weights, load_weights

# --- matching ---


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("001", ["001"]),
        ("002", ["002"]),
        ("003", ["003", "004"]),
        ("006", ["005", "006", "007"]),
        ("008", ["008"]),
        ("009", ["009"]),
    ],
)
def test_official_layouts_match_their_models(name: str, alike: list[str]) -> None:
    full = find_model(name).name
    for buffers in (False, True):
        assert matching_models(meta_state(full, buffers=buffers)) == [find_model(number).name for number in alike]


def test_spynet_alone_matches_its_component() -> None:
    parameters = LAYOUTS["001_VRT_videosr_bi_REDS_6frames"]["parameters"]
    state = {
        key.removeprefix("spynet."): torch.empty(shape, device="meta")
        for key, shape in parameters.items()
        if key.startswith("spynet.")
    }
    assert matching_models(state) == ["spynet"]
    assert matching_models({**state, "mean": torch.empty(1, 3, 1, 1), "std": torch.empty(1, 3, 1, 1)}) == ["spynet"]
    assert sum(t.numel() for t in state.values()) == COMPONENTS["spynet"].parameters


def test_a_file_of_another_model_is_named(tmp_path: Path) -> None:
    shapes = meta_state("006_VRT_videodeblurring_GoPro", buffers=False)
    state = {name: torch.zeros(tensor.shape, dtype=torch.float16) for name, tensor in shapes.items()}
    path = tmp_path / "download.safetensors"
    safetensors.torch.save_file(state, path)
    message = r"not for 008_VRT_videodenoising_DAVIS: it fits 005_VRT.* or 006_VRT.* or 007_VRT"
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(MODELS["008_VRT_videodenoising_DAVIS"], path)
    assert "the name decides" in str(caught.value)
    # Equal shapes: the given card decides.
    assert set(load_weights(MODELS["005_VRT_videodeblurring_DVD"], path)) == set(state)
    # By path alone: the name of the file decides; without it, the first of the models.
    named = path.rename(tmp_path / "007_VRT_videodeblurring_REDS.safetensors")
    assert card_for_file(named) is MODELS["007_VRT_videodeblurring_REDS"]
    unnamed = named.rename(tmp_path / "download.safetensors")
    card = card_for_file(unnamed)
    assert (card.name, card.task, card.config) == ("download", "deblur", MODELS["005_VRT_videodeblurring_DVD"].config)
    info = inspect_weights(unnamed)
    assert info.names == tuple(find_model(number).name for number in ("005", "006", "007"))
    assert info.dtypes == {"float16": MODELS["005_VRT_videodeblurring_DVD"].parameters}
    assert info.sha256 == file_sha256(unnamed)


def test_differences_are_listed_when_no_model_fits(tmp_path: Path) -> None:
    state = tiny_state()
    state["conv_first.weight"] = torch.zeros(1, 2, 3)
    for key in ("conv_first.bias", "conv_last.bias"):
        del state[key]
    state["extra.weight"] = torch.zeros(1)
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(WeightsError, match="does not fit tiny, nor any model known") as caught:
        load_weights(TINY, path)
    message = str(caught.value)
    assert "2 missing: conv_first.bias, conv_last.bias" in message
    assert "1 unexpected: extra.weight" in message
    assert "1 of another shape: conv_first.weight (1, 2, 3) instead of (8, " in message
    with pytest.raises(WeightsError, match="fits no model known"):
        card_for_file(path)
    assert inspect_weights(path).card is None


# --- formats ---


@pytest.mark.parametrize("key", [None, "params", "params_ema"])
def test_released_checkpoints_load_bit_exactly(tmp_path: Path, key: str | None) -> None:
    path = write(tmp_path / "tiny.pth", release(seed=3, key=key))
    loaded = load_weights(TINY, path)
    expected = tiny_state(seed=3)
    assert loaded.keys() == expected.keys()
    for name, tensor in loaded.items():
        assert tensor.dtype is torch.float32
        assert torch.equal(tensor, expected[name])


def test_params_wins_over_params_ema_like_in_the_published_loader(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pth"
    torch.save({"params_ema": tiny_state(1), "params": tiny_state(2)}, path)
    assert torch.equal(load_weights(TINY, path)["conv_first.bias"], tiny_state(2)["conv_first.bias"])


def test_old_style_pickled_checkpoints_load(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pth"
    torch.save(tiny_state(1), path, _use_new_zipfile_serialization=False)
    assert torch.equal(load_weights(TINY, path)["conv_first.bias"], tiny_state(1)["conv_first.bias"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, {**tiny_state(), **index_buffers()}, dtype=dtype)
    assert read_checkpoint(path).tensors.keys() == tiny_state().keys()
    expected = tiny_state()
    for name, tensor in load_weights(TINY, path).items():
        assert torch.equal(tensor, expected[name].to(dtype).float())


def test_saving_is_deterministic_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / name, tiny_state(), card=TINY, metadata={"steps": 7})
    assert file_sha256(tmp_path / "a") == file_sha256(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_can_contain_its_own_card(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(path, tiny_state(), card=TINY)
    card = card_for_file(path)
    assert card == replace(TINY, file="mine.safetensors")
    assert load_weights(path).keys() == tiny_state().keys()
    assert inspect_weights(path).names == ("tiny",)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "a", "task": "sr", "config": {"depths": "many"}},
        {"name": "a", "task": "sr", "config": {"depth": [1]}},
        {"name": "a", "task": "nothing"},
        {"name": 3},
    ],
)
def test_an_invalid_card_inside_a_file_is_refused(tmp_path: Path, facts: dict[str, object]) -> None:
    path = tmp_path / "mine.safetensors"
    metadata = {"vrt": json.dumps({"card": facts})}
    safetensors.torch.save_file(tiny_state(), path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"mine\.safetensors"):
        card_for_file(path)


def test_views_and_transposed_tensors_load(tmp_path: Path) -> None:
    state = tiny_state()
    weight = state["conv_first.weight"]
    state["conv_first.weight"] = torch.cat([weight, weight])[: len(weight)]
    path = tmp_path / "tiny.pth"
    torch.save(state, path)
    loaded = load_weights(TINY, path)["conv_first.weight"]
    assert torch.equal(loaded, weight)
    assert loaded.untyped_storage().nbytes() == weight.numel() * 4
    save_weights(tmp_path / "b.safetensors", state)


# --- damaged and malicious files ---


class MaliciousObject:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"params": tiny_state(), "x": MaliciousObject()}, "bad.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="could run code: refused") as caught:
        load_weights(TINY, "bad.pth")
    assert "mkdir" in str(caught.value)
    assert "\n" not in str(caught.value)
    Path("raw.pth").write_bytes(pickle.dumps(MaliciousObject()))
    with pytest.raises(WeightsError, match=r"raw\.pth"):
        load_weights(TINY, "raw.pth")
    assert not Path("attacked").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n  <!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b"<html>" + b" " * 1000, "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"Not found", "neither safetensors nor a PyTorch checkpoint"),
        (random.Random(0).randbytes(5000), "neither safetensors nor a PyTorch checkpoint"),
        (b"PK\x03\x04" + bytes(400), "damaged or cut off"),
        (b"\x80\x02" + bytes(400), "damaged or cut off"),
        ((100).to_bytes(8, "little") + b"{" + bytes(200), "damaged or cut off"),
        ((5000).to_bytes(8, "little") + b"{" + bytes(200), "cut off"),
    ],
)
def test_errors_name_what_a_file_is_instead_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "a.pth", content)
    for read in (lambda: load_weights(TINY, path), lambda: inspect_weights(path), lambda: load_weights(path)):
        with pytest.raises(WeightsError) as caught:
            read()
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pth", "legacy", "safetensors"])
def test_truncation_anywhere_is_an_error_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "tiny.safetensors"
    if kind == "safetensors":
        save_weights(path, tiny_state(), card=TINY)
    elif kind == "legacy":
        torch.save({"params": tiny_state()}, path, _use_new_zipfile_serialization=False)
    else:
        write(path, release())
    whole = path.read_bytes()
    draw = random.Random(1)
    for length in [1, 4, 8, 9, 100, len(whole) - 1] + [draw.randrange(len(whole)) for _ in range(12)]:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            load_weights(TINY, path)
        assert "\n" not in str(caught.value)


def test_flipped_bytes_never_raise_anything_but_weights_errors(tmp_path: Path) -> None:
    draw = random.Random(2)
    plain = tmp_path / "plain.safetensors"
    save_weights(plain, tiny_state())
    for whole in (release(), plain.read_bytes()):
        for _ in range(25):
            damaged = bytearray(whole)
            for _ in range(20):
                damaged[draw.choice((draw.randrange(3000), draw.randrange(len(whole))))] = draw.randrange(256)
            path = write(tmp_path / "a", bytes(damaged))
            with contextlib.suppress(WeightsError):  # damage to numbers alone is not detected
                load_weights(TINY, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 3, "best": 1.0}, "keys epoch, best"),
        ({"params": {}}, "instead of named tensors"),
        (torch.zeros(3), "holds a tensor"),
    ],
)
def test_checkpoints_without_a_state_dict_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message):
        load_weights(TINY, tmp_path / "a.pth")


def test_non_finite_and_integer_parameters_are_refused(tmp_path: Path) -> None:
    state = tiny_state()
    state["conv_last.bias"][1] = torch.nan
    save_weights(tmp_path / "a.safetensors", state)
    with pytest.raises(WeightsError, match=r"conv_last\.bias holds NaN or infinity"):
        load_weights(TINY, tmp_path / "a.safetensors")
    state["conv_last.bias"] = torch.zeros(3, dtype=torch.int64)
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=r"conv_last\.bias is stored as int64"):
        load_weights(TINY, tmp_path / "b.pth")


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read weights .*nothing\.pth: No such file"):
        load_weights(TINY, tmp_path / "nothing.pth")
    with pytest.raises(WeightsError, match="cannot read weights"):
        load_weights(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_no_utf8_is_refused_as_such(tmp_path: Path) -> None:
    """The library safetensors opens names in UTF-8 only; the file is not damaged."""
    path = tmp_path / os.fsdecode(b"tiny\xff.safetensors")
    safetensors.torch.save_file(tiny_state(), tmp_path / "tiny.safetensors")
    try:
        (tmp_path / "tiny.safetensors").rename(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(WeightsError, match="its name is not UTF-8, which the library safetensors"):
        read_checkpoint(path)
