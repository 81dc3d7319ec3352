"""What holds for the repository as a whole: arrows between rooms, imports without side effects, sizes, the package."""

import ast
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("vrt_core", "vrt_media", "vs_plugin", "vrt_cli", "vrt_train", "vrt_nodes")
HOSTS = {"vapoursynth", "comfy", "comfy_api", "folder_paths", "nodes", "server"}
MEDIA = {"av", "PIL", "cv2", "imageio"}
MOST_LINES = 400
PUBLIC = ("vrt_core", "vrt_core.hardware", "vrt_core.models", "vrt_core.options")
"""Packages and modules of the core that front ends import."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, str, int]]:
    """(module, name taken from it or "", line) of each import in a file; relative modules begin with a dot."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((module, alias.name, node.lineno) for alias in node.names)


def found_in(room: str) -> Iterator[tuple[str, str, str]]:
    """(module, name, place) of each import in a room."""
    for path in sources(room):
        for module, name, line in imports(path):
            yield module, name, f"{path.relative_to(ROOT)}:{line}"


def escapes(room: str, module: str, place: str) -> bool:
    """Whether a relative import leaves its room."""
    dots = len(module) - len(module.lstrip("."))
    depth = len(Path(place.rsplit(":", 1)[0]).parts) - 1
    return dots > depth


# --- arrows ---


def test_the_core_knows_nobody() -> None:
    banned = {*ROOMS, "vsvrt", "torchvision", *HOSTS, *MEDIA, "typer", "rich"}
    wrong = [f"{place}: {module}" for module, _, place in found_in("vrt_core") if module.split(".")[0] in banned]
    wrong += [f"{place}: {module}" for module, _, place in found_in("vrt_core") if escapes("vrt_core", module, place)]
    assert wrong == []


def test_media_knows_no_room() -> None:
    banned = {*ROOMS, "vsvrt", "torchvision", *HOSTS, "typer", "rich"}
    wrong = [f"{place}: {module}" for module, _, place in found_in("vrt_media") if module.split(".")[0] in banned]
    wrong += [f"{place}: {module}" for module, _, place in found_in("vrt_media") if escapes("vrt_media", module, place)]
    assert wrong == []


@pytest.mark.parametrize("room", [room for room in ROOMS[2:] if (ROOT / room).is_dir()])
def test_front_ends_know_the_public_core_only(room: str) -> None:
    own_hosts = {"vs_plugin": {"vapoursynth"}, "vrt_nodes": HOSTS - {"vapoursynth"}}.get(room, set())
    others = {*ROOMS, "vsvrt"} - {room, "vrt_core"} - ({"vsvrt"} if room == "vs_plugin" else set())
    others -= {"vrt_media"} if room in ("vrt_cli", "vrt_nodes") else set()
    banned = others | (HOSTS - own_hosts) | {"torchvision"}
    for module, name, place in found_in(room):
        top = module.split(".")[0]
        assert top not in banned, f"{place} imports {module}"
        assert not escapes(room, module, place), f"{place} imports {module}"
        if top != "vrt_core":
            continue
        assert module in PUBLIC or (room, module) == ("vrt_train", "vrt_core.network"), f"{place} imports {module}"
        public = {*getattr(import_module(module), "__all__", [name]), "__version__"}
        assert not name or name in public or f"{module}.{name}" in PUBLIC, f"{place}: {module}.{name} is not public"


@pytest.mark.parametrize("room", ["vrt_core", "vrt_media", "vrt_nodes"])
def test_own_modules_are_imported_relatively(room: str) -> None:
    """A clone under ComfyUI's custom_nodes has another name for every package."""
    assert [place for module, _, place in found_in(room) if module.split(".")[0] == room] == []


def test_nobody_needs_torchvision() -> None:
    files = [*ROOT.glob("*.py"), *(p for room in (*ROOMS, "tests", "benchmarks", "demo") for p in sources(room))]
    assert [str(p) for p in files for module, _, _ in imports(p) if module.split(".")[0] == "torchvision"] == []
    assert "torchvision" not in (ROOT / "pyproject.toml").read_text().split("[tool.ruff]")[0]


# --- importing ---


def in_fresh_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_importing_has_no_side_effects(tmp_path: Path) -> None:
    """No host, no CUDA, no output, no new threads, no files, no logging set up, no random numbers drawn."""
    code = f"""
import logging, os, random, sys, threading
import numpy, torch
numbers, settings = torch.random.get_rng_state(), (torch.get_num_threads(), torch.is_grad_enabled())
environment, threads = dict(os.environ), threading.active_count()
os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = {str(tmp_path)!r}
environment |= {{k: {str(tmp_path)!r} for k in ("HOME", "XDG_CACHE_HOME")}}
from vrt_core import *
import vrt_cli.main, vrt_cli.commands.restore, vrt_cli.outputs, vrt_cli.job, vrt_nodes, vrt_train
assert torch.equal(numbers, torch.random.get_rng_state())
assert settings == (torch.get_num_threads(), torch.is_grad_enabled())
assert environment == dict(os.environ)
assert threads == threading.active_count()
assert not torch.cuda.is_initialized()
assert not logging.getLogger().handlers
assert not {{"vapoursynth", "comfy", "torchvision"}} & set(sys.modules)
"""
    assert in_fresh_python(code) == ""
    assert list(tmp_path.iterdir()) == []


def test_the_core_does_not_load_media_or_hosts() -> None:
    code = "import sys, vrt_core; from vrt_core import *; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(in_fresh_python(code).split())
    assert not loaded & (
        {"vapoursynth", "comfy", "av", "typer", "vrt_cli", "vrt_media", "vrt_train", "vsvrt"} | {"torchvision"}
    )


# --- files ---


def test_no_file_is_long() -> None:
    files = [*(p for room in (*ROOMS, "tests", "benchmarks", "demo") for p in sources(room))]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in files}
    assert len(lengths) > 20
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_folders_that_comfyui_would_serve() -> None:
    """It takes the first of these names for its templates; ours lie in workflows/."""
    assert [n for n in ("example", "examples", "workflow", "example_workflows") if (ROOT / n).exists()] == []


def test_the_shipped_files_are_small() -> None:
    sizes = {p.name: p.stat().st_size for folder in ("weights", "demo") for p in (ROOT / folder).iterdir()}
    assert sizes["bird.mp4"] < 400_000
    assert max(sizes.values()) < 20_000_000


# --- the package ---


def test_every_package_is_listed() -> None:
    folders = PROJECT["tool"]["setuptools"]["package-dir"]
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    there = set()
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            there.add(".".join(init.parent.relative_to(ROOT).parts).replace("vs_plugin", "vsvrt"))
    assert listed - {"vrt_core._weights"} == there
    assert folders == {"vrt_core._weights": "weights", "vsvrt": "vs_plugin"}


def test_the_wheel_holds_what_it_needs(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for room in (*ROOMS, "weights"):
        if (ROOT / room).is_dir():
            shutil.copytree(ROOT / room, clone / room, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run(command, cwd=clone, check=True, capture_output=True, timeout=300)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    modules = {n for n in names if n.endswith(".py")}
    assert {str(p.relative_to(ROOT)).replace("vs_plugin", "vsvrt") for room in ROOMS for p in sources(room)} == modules
    weights = {p.name for p in (ROOT / "weights").iterdir() if p.suffix in (".json", ".safetensors")}
    assert {f"vrt_core/_weights/{name}" for name in weights} <= names
    shipped = [
        m["file"] for m in json.loads((ROOT / "weights/manifest.json").read_text())["models"] if m.get("shipped")
    ]
    assert set(shipped) <= weights
    assert {"vrt_core/py.typed", "vrt_media/py.typed", "vsvrt/py.typed"} <= names
    web = {str(p.relative_to(ROOT)) for p in (ROOT / "vrt_nodes/web").rglob("*") if p.is_file()}
    assert web <= names
    assert not any(n.startswith(("tests", "vs_plugin", "weights", "demo")) for n in names)
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra" not in line]
    packages = sorted(line.split()[1].split(">")[0] for line in required)
    assert packages == ["einops", "filelock", "numpy", "safetensors", "torch"]
    assert "License-Expression: Apache-2.0" in metadata
