"""The repository as a whole: sizes of files and functions, names, and what the wheel contains."""

import ast
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.helpers.sources import PACKAGES, ROOT, all_sources, sources

MAX_LINES, MAX_FUNCTION_LINES = 350, 60
VAGUE_NAMES = {"seen", "made", "found", "wanted", "told", "least", "most"}
"""Words that say nothing as names of variables, arguments or attributes."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


# --- files ---


def test_no_file_is_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in all_sources()}
    assert len(lengths) > 20
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_no_function_is_long() -> None:
    """Lines of the body, without signature and docstring: those of a command declare its options."""
    lengths = {}
    for path in all_sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and body[-1].end_lineno is not None:
                    lengths[f"{path.relative_to(ROOT)}:{node.name}"] = body[-1].end_lineno - body[0].lineno + 1
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def names_in(tree: ast.AST) -> set[str]:
    """Names of variables, arguments and attributes that a module defines."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def test_no_name_is_vague() -> None:
    vague = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in all_sources()
        for name in names_in(ast.parse(path.read_text()))
        if VAGUE_NAMES & set(name.lower().split("_"))
    }
    assert vague == set()


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
    packages = set()
    for package in PACKAGES:
        for init in (ROOT / package).rglob("__init__.py"):
            packages.add(".".join(init.parent.relative_to(ROOT).parts).replace("vs_plugin", "vsvrt"))
    assert listed - {"vrt_core._weights"} == packages
    assert folders == {"vrt_core._weights": "weights", "vsvrt": "vs_plugin"}


def test_the_wheel_holds_what_it_needs(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for folder in (*PACKAGES, "weights"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run(command, cwd=clone, check=True, capture_output=True, timeout=300)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    modules = {n for n in names if n.endswith(".py")}
    assert {
        str(p.relative_to(ROOT)).replace("vs_plugin", "vsvrt") for package in PACKAGES for p in sources(package)
    } == modules
    weights = {p.name for p in (ROOT / "weights").iterdir() if p.suffix in (".json", ".safetensors")}
    assert {f"vrt_core/_weights/{name}" for name in weights} <= names
    shipped = [
        m["file"] for m in json.loads((ROOT / "weights/manifest.json").read_text())["models"] if m.get("shipped")
    ]
    assert set(shipped) <= weights
    assert {"vrt_core/py.typed", "vrt_media/py.typed", "vsvrt/py.typed"} <= names
    for folder in ("web", "clips"):
        assert {str(p.relative_to(ROOT)) for p in (ROOT / "vrt_nodes" / folder).rglob("*") if p.is_file()} <= names
    assert not any(n.startswith(("tests", "vs_plugin", "weights", "demo")) for n in names)
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra" not in line]
    packages = sorted(line.split()[1].split(">")[0] for line in required)
    assert packages == ["einops", "filelock", "numpy", "safetensors", "torch"]
    assert "License-Expression: Apache-2.0" in metadata
