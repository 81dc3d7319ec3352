"""Imports: arrows between packages, no cycles, no side effects."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers.sources import HOSTS, PACKAGES, ROOT, all_sources, find_cycle, import_graph, imports, imports_of

MEDIA = {"av", "PIL", "cv2", "imageio"}
PUBLIC = ("vrt_core", "vrt_core.hardware", "vrt_core.models", "vrt_core.options")
"""Packages and modules of the core that front ends import."""
LAYERS = {
    "errors": set[str](),
    "options": {"errors"},
    "hardware": {"errors"},
    "network": {"errors"},
    "models": {"errors", "network"},
    "analysis": {"errors", "options", "network"},
    "inference": {"errors", "options", "hardware", "network", "models", "analysis"},
    "restorer": {"errors", "options", "models", "analysis", "inference"},
    "export": {"errors", "options", "network"},
    "loading": {"errors", "options", "hardware", "network", "models", "inference", "restorer"},
}
"""What each part of the core may import."""


def top(module: str) -> str:
    return module.split(".")[0]


def test_the_core_imports_no_other_package() -> None:
    banned = {*PACKAGES, "vsvrt", *HOSTS, *MEDIA, "typer", "rich"} - {"vrt_core"}
    assert [item for item in imports_of("vrt_core") if top(item.module) in banned] == []


def test_media_imports_no_other_package() -> None:
    banned = {*PACKAGES, "vsvrt", *HOSTS, "typer", "rich"} - {"vrt_media"}
    assert [item for item in imports_of("vrt_media") if top(item.module) in banned] == []


@pytest.mark.parametrize("package", PACKAGES[2:])
def test_front_ends_import_public_names_of_the_core(package: str) -> None:
    own_hosts = {
        "vs_plugin": {"vapoursynth"},
        "vrt_nodes": HOSTS - {"vapoursynth"},
        "vrt_train": {"vapoursynth"},  # its plugins are baselines
    }.get(package, set())
    others = {*PACKAGES, "vsvrt"} - {package, "vrt_core"} - ({"vsvrt"} if package == "vs_plugin" else set())
    others -= set() if package == "vs_plugin" else {"vrt_media"}
    others -= {"vrt_jobs"} if package == "vrt_cli" else set()
    for item in imports_of(package):
        assert top(item.module) not in others | (HOSTS - own_hosts), item
        if top(item.module) != "vrt_core":
            continue
        is_training = package == "vrt_train" and item.module.startswith("vrt_core.network")
        assert item.module in PUBLIC or is_training, item
        public = {*getattr(import_module(item.module), "__all__", [item.name]), "__version__"}
        assert not item.name or item.name in public or f"{item.module}.{item.name}" in PUBLIC, item


def test_the_layers_of_the_core() -> None:
    for module, targets in import_graph("vrt_core").items():
        if module == "vrt_core":
            continue
        layer = module.split(".")[1]
        for target in targets:
            assert target != "vrt_core", f"{module} imports the package itself"
            assert target.split(".")[1] in {layer, *LAYERS[layer]}, f"{module} imports {target}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_cycle(package: str) -> None:
    """Imports for type checkers count, too."""
    assert find_cycle(import_graph(package)) == []


@pytest.mark.parametrize("package", ["vrt_core", "vrt_media", "vrt_nodes"])
def test_own_modules_are_imported_relatively(package: str) -> None:
    """A clone under ComfyUI's custom_nodes has another name for every package."""
    assert [item for item in imports_of(package) if top(item.module) == package and not item.is_relative] == []


def test_nobody_needs_torchvision() -> None:
    files = [*ROOT.glob("*.py"), *all_sources()]
    assert [item for path in files for item in imports(path) if top(item.module) == "torchvision"] == []
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
import vrt_cli.main, vrt_jobs.pipeline, vrt_jobs.outputs, vrt_cli.commands.restore, vrt_nodes, vrt_train
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
    others = {"vapoursynth", "comfy", "av", "typer", "vrt_cli", "vrt_media", "vrt_train", "vsvrt", "torchvision"}
    assert not loaded & others
