"""Reading PyTorch checkpoints: what torch writes, and nothing else."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from vrt_core.errors import WeightsError
from vrt_core.models import pickled
from vrt_core.models.pickled import StoredTensor, read_tensors

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5, -2.0], dtype=torch.float16)}


def read(path: Path) -> dict[str, torch.Tensor]:
    return read_tensors(path, lambda content: content)


def save(path: Path, content: object, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def rewrite(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write the archive anew with changed files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, change(name.partition("/")[2], content))
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_are_read_like_torch_reads_them(tmp_path: Path, zipped: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    base = torch.arange(24.0)
    state = {
        **module.state_dict(),
        "half": torch.ones(3, dtype=torch.float16),
        "bfloat": torch.ones(3, dtype=torch.bfloat16),
        "double": torch.ones(3, dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "view": base[4:10],
        "transposed": base.reshape(4, 6).t(),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(7),
        "flags": torch.tensor([True, False]),
    }
    path = save(tmp_path / "a.pth", OrderedDict(state), zipped=zipped)
    expected = torch.load(path, weights_only=True)
    tensors = read(path)
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        assert tensor.dtype == expected[name].dtype
        assert tensor.stride() == expected[name].stride()
        assert torch.equal(tensor, expected[name])


def test_a_state_dict_with_versions_of_its_modules_is_read(tmp_path: Path) -> None:
    state = torch.nn.BatchNorm2d(2).state_dict()
    assert state._metadata  # type: ignore[attr-defined]
    assert read(save(tmp_path / "a.pth", state)).keys() == state.keys()


def test_only_what_is_selected_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", {"params": STATE, "epoch": 3, "rates": [0.1, None], "big": torch.zeros(10**6)})

    def drop_the_big_one(name: str, content: bytes) -> bytes:
        return b"" if len(content) > 10**6 else content

    def select(content: Mapping[str, Any]) -> Mapping[str, StoredTensor]:
        assert content["epoch"] == 3
        assert content["rates"] == [0.1, None]
        return content["params"]

    tensors = read_tensors(rewrite(path, drop_the_big_one), select)
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)


def test_torch_load_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.pth", STATE)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load is unsafe in some versions"))
    read(path)


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.zeros(3).to_sparse()},
        {"a": torch.zeros(3, device="meta")},
        {"a": torch.float32},
        {"a": {1, 2}},
        {"a": 1j},
        {"a": Path("x")},
        {"a": torch.nn.Linear(1, 1)},
        {(1, 2): torch.zeros(1)},
        {"a": torch.zeros(3).to(torch.float8_e4m3fn)},
    ],
)
def test_anything_but_plain_tensors_and_containers_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(WeightsError, match=r"a\.pth (holds more than tensors|is damaged)"):
        read(save(tmp_path / "a.pth", content))


def test_a_compressed_archive_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.pth", {"a": torch.zeros(1_000_000)})
    rewrite(path, lambda name, content: content, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 40_000
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("inflated"))
    with pytest.raises(WeightsError, match="is compressed"):
        read(path)


def test_storages_that_share_bytes_of_the_file_do_not_multiply_them(tmp_path: Path) -> None:
    """Many entries of the archive's directory can point to the same bytes."""
    path = save(tmp_path / "a.pth", {str(n): torch.full((100_000,), float(n)) for n in range(8)})
    with zipfile.ZipFile(path) as archive:
        name, files = archive.namelist()[0].partition("/")[0], {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/data.pkl", files[f"{name}/data.pkl"])
        archive.writestr(f"{name}/data/0", files[f"{name}/data/0"])
        for key in range(1, 8):
            shared = zipfile.ZipInfo(f"{name}/data/{key}")
            first = archive.getinfo(f"{name}/data/0")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(shared, field, getattr(first, field))
            archive.filelist.append(shared)
            archive.NameToInfo[shared.filename] = shared
    with pytest.raises(WeightsError, match=r"take more than the .* bytes of the file"):
        read(path)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((10**12,), (0,), 0), ((7,), (1,), 0), ((2, 3), (4, 1), 0), ((6,), (1,), 1), ((-1,), (1,), 0), ((6,), (-1,), 5)],
)
def test_a_tensor_outside_its_storage_is_refused(size: tuple, stride: tuple, offset: int) -> None:
    with pytest.raises(ValueError, match="a tensor"):
        StoredTensor(pickled.Storage("0", "float32", 6), offset, size, stride)


def test_a_storage_with_too_few_bytes_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", STATE)
    rewrite(path, lambda name, content: content[:-1] if name == "data/0" else content)
    with pytest.raises(WeightsError, match="storage 0 has 23 bytes, expected 24"):
        read(path)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
        b"\x80\x02" + b"]" * 10 + b".",  # leaves a list
        b"\x80\x02(((t.",
        b"\x80\x02R.",
        b"\x80\x02h\x05.",
        b"\x80\x02ccollections\nOrderedDict\n)b.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n)R.",
        b"\x80\x02(X\x01\x00\x00\x00ar\xff\xff\xff\xff.",
        b"\x80\x02}(]]u.",
        b"\x80\x02X\xff\xff\xff\x7fa.",
        b"\x80\x02)Q.",
        b"\x80\x02" + b"]" * (5 << 20),
        b"",
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_of_strangers_end_in_one_line(tmp_path: Path, opcodes: bytes, zipped: bool) -> None:
    path = tmp_path / "a.pth"
    if zipped:
        rewrite(save(path, STATE), lambda name, content: opcodes if name == "data.pkl" else content)
    else:
        header = io.BytesIO()
        for fact in (pickled._LEGACY_MAGIC, 1001, {"little_endian": True}):
            pickle.dump(fact, header, 2)
        path.write_bytes(header.getvalue() + opcodes)

    def select(content: object) -> Mapping[str, StoredTensor]:
        raise WeightsError(f"{path}: no tensors")

    with pytest.raises(WeightsError, match=r"a\.pth") as caught:
        read_tensors(path, select)
    assert "\n" not in str(caught.value)
