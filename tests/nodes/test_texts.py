"""Help pages, translations and workflows name what the nodes have, and nothing else; no ComfyUI needed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.nodes.fake import FakeComfyUI
from vrt_core import MODELS
from vrt_nodes.example_clips import CLIPS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
DOCS = ROOT / "vrt_nodes/web/docs"
LOCALES = sorted((ROOT / "locales").glob("*/nodeDefs.json"))


@pytest.fixture
def schemas(comfy: FakeComfyUI) -> dict[str, Any]:
    from vrt_nodes import comfy_entrypoint

    nodes = asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list())
    return {schema.node_id: schema for schema in (node.define_schema() for node in nodes)}


def test_every_node_has_a_help_page_that_names_its_inputs(schemas: dict[str, Any]) -> None:
    pages = {path.stem: path.read_text() for path in DOCS.glob("*.md")}
    assert pages.keys() == schemas.keys()
    for name, schema in schemas.items():
        assert pages[name].startswith(f"# {schema.display_name}\n")
        assert [widget.id for widget in schema.inputs if f"**{widget.id}**" not in pages[name]] == []


@pytest.mark.parametrize("path", LOCALES, ids=lambda path: path.parent.name)
def test_every_help_page_is_translated_with_all_its_inputs(schemas: dict[str, Any], path: Path) -> None:
    texts = json.loads(path.read_text())
    for name, schema in schemas.items():
        page = (DOCS / name / f"{path.parent.name}.md").read_text()
        english = (DOCS / f"{name}.md").read_text()
        assert page.startswith(f"# {texts[name]['display_name']}\n")
        assert [widget.id for widget in schema.inputs if f"**{widget.id}**" not in page] == []
        for facts in texts[name]["inputs"].values():
            assert f"**{facts['name']}**" in page
        for mark in ("\n- ", "\n## ", "\n|"):
            assert page.count(mark) == english.count(mark), f"as many of {mark!r} as in the English page"


@pytest.mark.parametrize("path", LOCALES, ids=lambda path: path.parent.name)
def test_translations_fit_the_nodes(schemas: dict[str, Any], path: Path) -> None:
    assert path.parent.name != "en", "it would override the texts in the code, and drift from them"
    texts = json.loads(path.read_text())
    assert texts.keys() == schemas.keys()
    for name, schema in schemas.items():
        assert list(texts[name]["inputs"]) == [widget.id for widget in schema.inputs]
        assert list(texts[name].get("outputs", {})) == [str(n) for n in range(len(schema.outputs))]
        places = [*texts[name]["inputs"].values(), *texts[name].get("outputs", {}).values()]
        assert all(place.keys() == {"name", "tooltip"} and all(place.values()) for place in places)
        assert texts[name]["display_name"]
        assert texts[name]["description"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_fit_the_nodes(schemas: dict[str, Any], path: Path) -> None:
    assert path.name.startswith("vrt_"), "names are shared by all packs"
    assert Image.open(path.with_suffix(".jpg")).size == (400, 300)
    nodes = json.loads(path.read_text())["nodes"]
    assert [node for node in nodes if node["type"] == "MarkdownNote"], "says what input is needed"
    for node in nodes:
        if schema := schemas.get(node["type"]):
            named = [widget["name"] for widget in node["inputs"] if widget["name"] in {i.id for i in schema.inputs}]
            assert {*named} == {widget.id for widget in schema.inputs if not getattr(widget, "optional", False)}
        if node["type"] == "VRTLoadModel":
            assert MODELS[node["widgets_values"][0]].shipped, "runs without a download"
        if node["type"] == "LoadVideo":
            assert (CLIPS / node["widgets_values"][0]).is_file(), "runs without a video of the user's"


def test_workflows_have_ids_of_their_own() -> None:
    assert len({json.loads(path.read_text())["id"] for path in WORKFLOWS}) == len(WORKFLOWS) == 5
