"""Interface that saved workflows rely on, and loading of a clone under any name."""

import ast
import asyncio
import importlib.util
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.nodes.fake import HOST, FakeComfyUI
from tests.nodes.frozen import ADVANCED, FROZEN
from vrt_core import OPTIONS, RestoreOptions

ROOT = Path(__file__).parents[2]


def all_nodes() -> list[Any]:
    from vrt_nodes import comfy_entrypoint

    return asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list())


@pytest.fixture
def schemas(comfy: FakeComfyUI) -> dict[str, Any]:
    return {schema.node_id: schema for schema in (node.define_schema() for node in all_nodes())}


def test_the_frozen_surface(schemas: dict[str, Any]) -> None:
    surface = {
        name: ([i.id for i in schema.inputs], [f"{o.io_type} {o.display_name}" for o in schema.outputs])
        for name, schema in schemas.items()
    }
    assert surface == FROZEN


def test_every_node_and_input_explains_itself(schemas: dict[str, Any]) -> None:
    for schema in schemas.values():
        assert schema.category == "VRT"
        assert schema.display_name
        assert schema.description
        for widget in schema.inputs:
            assert widget.tooltip, f"{schema.node_id}.{widget.id}"
        assert all(widget.tooltip for widget in schema.outputs), schema.node_id


@pytest.mark.parametrize("word", ["denoise", "deblur", "upscale", "super-resolution", "interpolate", "slow motion"])
def test_a_search_finds_a_node_by_its_task(comfy: FakeComfyUI, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Since 0.11, ComfyUI searches the aliases."""
    from vrt_nodes import widgets

    @dataclass
    class NewerSchema(widgets.io.Schema):
        search_aliases: list[str] = field(default_factory=list)

    monkeypatch.setattr(widgets.io, "Schema", NewerSchema)
    monkeypatch.setattr(widgets, "_SCHEMA_FIELDS", {f.name for f in fields(NewerSchema)})
    schemas: list[Any] = [node.define_schema() for node in all_nodes()]
    matches = {schema.node_id for schema in schemas if word in schema.search_aliases}
    assert matches
    assert word in ("interpolate", "slow motion") or {"VRTRestore", "VRTRestoreVideo"} <= matches


def test_seldom_used_inputs_are_advanced(schemas: dict[str, Any]) -> None:
    advanced = {
        widget.id for schema in schemas.values() for widget in schema.inputs if widget.extra_dict.get("advanced")
    }
    assert advanced == ADVANCED


def test_widgets_have_range_and_help_of_the_options(schemas: dict[str, Any]) -> None:
    for schema in schemas.values():
        for widget in schema.inputs:
            option = OPTIONS.get(widget.id)
            if option is None:
                continue
            assert widget.tooltip.startswith(option.help)
            if option.choices:
                assert widget.options == [str(choice) for choice in option.choices]
                assert widget.default == str(option.default)
            else:
                assert widget.default == (-1 if option.is_automatic else option.default)
                assert widget.min == (-1 if option.is_automatic else option.min)
                assert widget.facts.get("max") == option.max


def test_widgets_become_the_options_of_the_core() -> None:
    from vrt_nodes.widgets import options_from_widgets

    widgets = {"sigma_255": -1.0, "factor": "4", "window_frames": -1, "tile_px": -1, "tile_overlap_px": 16}
    assert options_from_widgets({**widgets, "cuts": "off"}) == RestoreOptions(
        sigma_255=None, factor=4, window_frames=None, tile_px="auto", tile_overlap_px=16, cuts="off"
    )
    assert options_from_widgets({"tile_px": 0, "sigma_255": 0.0}) == RestoreOptions(tile_px=0, sigma_255=0.0)


def test_only_the_bridge_names_other_packages() -> None:
    """An absolute import would fail in a clone, or take another version that happens to be installed."""
    for package in ("vrt_core", "vrt_media", "vrt_nodes"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "_bridge.py":
                continue
            tree = ast.parse(path.read_text())
            checked_only = [
                n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
            ]
            not_run = {inner for block in checked_only for inner in ast.walk(block)}
            for node in set(ast.walk(tree)) - not_run:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert not [name for name in names if name.startswith(("vrt_", "vsvrt"))], f"{path}:{names}"


# --- a clone in custom_nodes ---


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI-VRT.main"
    folder.mkdir()
    shutil.copy(ROOT / "__init__.py", folder)
    for name in ("vrt_core", "vrt_media", "vrt_nodes", "weights"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


LOAD = """
import asyncio, importlib.util, pathlib, sys
clone, base, host = map(pathlib.Path, sys.argv[1:])
sys.path[:] = [str(host)] + [p for p in sys.path if p != ""]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in str(f)]  # no installed project to fall back on
import folder_paths
folder_paths.set_base(base)
name = str(clone).replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, clone / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
assert "torch" not in sys.modules and "comfy_api" not in sys.modules
assert pathlib.Path(module.WEB_DIRECTORY) == clone / "vrt_nodes/web"
nodes = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
loader = next(n for n in nodes if n.define_schema().node_id == "VRTLoadModel")
model = loader.execute("denoise-small", "fp32")[0]
assert not {"vrt_core", "vrt_nodes", "vrt_media"} & set(sys.modules)
print(len(nodes), model.tasks)
"""


def test_a_clone_loads_under_any_name(clone: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(clone), str(tmp_path / "base"), str(HOST)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n")[0] == f"{len(FROZEN)} ('denoise',)"


def test_the_root_can_be_imported_bare() -> None:
    """pytest does so if the name of the folder is not an identifier."""
    spec = importlib.util.spec_from_file_location("__init__", ROOT / "__init__.py")
    assert spec
    assert spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not hasattr(module, "comfy_entrypoint")


def test_importing_the_nodes_asks_for_nothing() -> None:
    code = "import sys, vrt_nodes; print('torch' in sys.modules or 'comfy_api' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


# --- the registry ---


def test_the_registry_finds_what_it_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    comfy = project["tool"]["comfy"]
    assert comfy["DisplayName"]
    assert comfy["requires-comfyui"] == ">=0.3.64"
    assert "web" not in comfy  # it would be served under the project's name, where no help page is looked for
    assert project["project"]["name"] == "vrt-restore"
    assert "comfy" not in project["project"]["name"]


def test_requirements_leave_torch_alone() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    assert not any(line.startswith(("torch", "vapoursynth", "ray", "typer")) for line in requirements)
    dependencies = {
        d.split(">")[0] for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    assert dependencies - {"torch"} <= {line.split(">")[0] for line in requirements}


def test_what_is_published_leaves_out_tests_and_big_files() -> None:
    ignored = (ROOT / ".comfyignore").read_text().split()
    assert {"tests/", "benchmarks/", "demo/"} <= set(ignored)
    assert not {"vrt_core/", "vrt_media/", "vrt_nodes/", "weights/", "workflows/", "locales/"} & set(ignored)
