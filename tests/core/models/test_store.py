"""Finding weight files, verifying their digests, and loading networks from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.weights import TINY, release, tiny_state, write
from vrt_core.errors import InputError, WeightsError
from vrt_core.models import checkpoint, store
from vrt_core.models.cards import COMPONENTS, MODELS
from vrt_core.models.checkpoint import expected_shapes, save_weights
from vrt_core.models.digests import add_records, file_sha256
from vrt_core.models.store import find_weights, load_network, load_weights, models_dir
from vrt_core.network import build_network

# --- where files are, and digests ---


def test_models_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path / "a"))
    assert models_dir() == tmp_path / "a"
    monkeypatch.delenv("VRT_MODELS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert models_dir() == tmp_path / "b/vrt/models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_dir() == tmp_path / ".cache/vrt/models"


def test_weights_are_found_in_the_folder_first_and_converted_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, cache = tmp_path / "mine", tmp_path / "cache"
    monkeypatch.setenv("VRT_MODELS_DIR", str(cache))
    folder.mkdir()
    cache.mkdir()
    card = replace(TINY, url="http://127.0.0.1/x.pth")
    message = r"looked for tiny\.safetensors or tiny_release\.pth in .*mine, .*cache; "
    with pytest.raises(WeightsError, match=message) as caught:
        find_weights(card, folder)
    assert "`vrt download tiny` (licence CC0-1.0)" in str(caught.value)
    (cache / "tiny.safetensors").touch()
    assert find_weights(card, folder) == cache / "tiny.safetensors"
    (folder / "tiny_release.pth").touch()
    assert find_weights(card, folder) == folder / "tiny_release.pth"
    assert find_weights(card) == cache / "tiny.safetensors"
    (folder / "tiny.safetensors").touch()
    assert find_weights(card, folder) == folder / "tiny.safetensors"


def test_missing_weights_that_cannot_be_fetched_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(store, "shipped_dir", lambda: tmp_path)
    with pytest.raises(WeightsError, match="they come with the project"):
        find_weights(MODELS["denoise-small"])
    with pytest.raises(InputError, match="it runs 003_VRT_videosr_bi_Vimeo_7frames and 009_VRT"):
        find_weights(MODELS["010_VRT_videostsr"])


def test_a_published_digest_is_compared_before_parsing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / TINY.file, release())
    card = replace(TINY, sha256=file_sha256(path))
    assert load_weights(card, folder=tmp_path).keys() == tiny_state().keys()
    write(path, release(seed=1))
    monkeypatch.setattr(checkpoint, "read_tensors", lambda *_: pytest.fail("parsed before it was verified"))
    with pytest.raises(WeightsError, match=r"damaged or was changed: its sha256 is .* in the model list"):
        load_weights(card, folder=tmp_path)


def test_a_recorded_digest_is_compared_at_load(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, tiny_state())
    add_records(tmp_path, {path.name: {"sha256": file_sha256(path)}})
    load_weights(TINY, path)
    save_weights(path, tiny_state(seed=1))
    for load in (lambda: load_weights(TINY, path), lambda: load_weights(TINY, folder=tmp_path)):
        with pytest.raises(WeightsError, match=r"damaged or was changed.*checksums\.json"):
            load()
    (tmp_path / "checksums.json").write_text("[")
    with pytest.raises(WeightsError, match=r"checksums\.json.*delete the file"):
        load_weights(TINY, path)


# --- networks ---


def test_load_network_is_the_network_with_these_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.pth", release(seed=5))
    network = load_network(TINY, path)
    assert not network.training
    reference = build_network(**TINY.config)
    reference.load_state_dict(tiny_state(seed=5), strict=False)
    clip = torch.rand(1, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network(clip), reference(clip))
    path.unlink()  # nothing is read from the file any more
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_a_component_is_no_network_but_loads_as_weights(tmp_path: Path) -> None:
    card = COMPONENTS["spynet"]
    state = {name: torch.zeros(shape) for name, shape in expected_shapes(card).items()}
    torch.save({"params": {**state, "mean": torch.zeros(3), "std": torch.ones(3)}}, tmp_path / "flow.pth")
    assert load_weights(card, tmp_path / "flow.pth").keys() == state.keys()
    with pytest.raises(InputError, match="restores nothing alone"):
        load_network(card, tmp_path / "flow.pth")
