"""The front end of a real ComfyUI: workflows loaded and run, templates, help, messages.

Screenshots go to test_screenshots/, named after the version of ComfyUI: look at them after a change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.nodes.browser import FrontEnd, find_chromium, launched, opened
from tests.nodes.comfy_server import PACK, REPO, PromptError, Server
from tests.nodes.frozen import STRENGTH
from tests.nodes.media import write_video
from tests.nodes.prompts import TILES, node, restore_images, restore_video

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WORKFLOWS = {path.stem: path for path in sorted((REPO / "workflows").glob("*.json"))}
RESULTS = {"SaveImage", "SaveVideo", "VRTCompare", "VRTCompareVideo"}


@pytest.fixture(scope="module")
def browser(comfyui: Path) -> Iterator[Browser]:
    """Find Chromium before a server is started for it."""
    with launched(find_chromium()) as running:
        yield running


@pytest.fixture(scope="module")
def front_end(browser: Browser, server: Server) -> Iterator[FrontEnd]:
    with opened(browser, server.url) as opening:
        yield opening


def load(name: str) -> dict[str, Any]:
    return json.loads(WORKFLOWS[name].read_text())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_runs_and_shows_its_result(front_end: FrontEnd, name: str) -> None:
    graph = load(name)
    front_end.load(graph)
    assert not front_end.unknown_nodes()
    messages = front_end.run()
    assert messages["progress"][-1][0] == messages["progress"][-1][1]
    assert messages["previews"]
    assert "frames" in messages["texts"][-1]
    kinds = [node["type"] for node in graph["nodes"]]
    assert RESULTS & {*kinds}
    compares = sum(kind.startswith("VRTCompare") for kind in kinds)
    for widget in front_end.compare_widgets(compares) if compares else []:
        assert len({*widget["kinds"]}) == 1
        assert widget["message"] == ""
        assert [tag.split()[0] for tag in widget["tags"]] == ["before", "after"]
        if name == "vrt_upscale_x4":
            assert [tag.split()[1] for tag in widget["tags"]] == ["16×12", "64×48"]
    front_end.wait_for_results()
    front_end.show_all()
    front_end.screenshot(name)


def test_slider_and_frames_follow_the_pointer(front_end: FrontEnd) -> None:
    prompt = restore_images(frames=3, sigma_255=21.0)
    prompt["6"] = node("VRTCompare", before=["3", 0], after=["4", 0])
    front_end.load_prompt(prompt)
    front_end.run()
    front_end.compare_widgets(1)
    front_end.page.evaluate(
        """() => { const node = app.graph._nodes.find(n => n.type === 'VRTCompare'); node.setSize([500, 500]);
           app.canvas.ds.scale = 1; app.canvas.ds.offset = [100 - node.pos[0], 100 - node.pos[1]];
           app.canvas.draw(true, true) }"""
    )
    front_end.page.wait_for_timeout(500)
    box = front_end.page.locator(".vrt-slider-stage").bounding_box()
    assert box
    assert box["height"] > 200
    before, after = front_end.page.locator(".vrt-slider-stage img").all()
    first = before.get_attribute("src")
    front_end.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert "75%" in (before.get_attribute("style") or ""), "what is right of the line is cut off"
    assert "25%" in (after.get_attribute("style") or "")
    front_end.page.locator(".vrt-slider-bar input").fill("2")
    assert front_end.page.locator(".vrt-slider-bar output").text_content() == "3 / 3"
    assert before.get_attribute("src") != first
    front_end.screenshot("slider")


def test_a_comparison_comes_back_where_no_canvas_is_drawn(front_end: FrontEnd) -> None:
    """A change of tab loads the graph anew, then restores its outputs; renderers of newer nodes draw no canvas."""
    prompt = restore_images(frames=2, sigma_255=22.0)
    prompt["6"] = node("VRTCompare", before=["3", 0], after=["4", 0])
    front_end.load_prompt(prompt)
    front_end.run()
    front_end.compare_widgets(1)
    front_end.page.evaluate(
        """async () => { app.canvas.draw = () => {}; const outputs = app.nodeOutputs;
           await app.loadGraphData(app.graph.serialize()); app.nodeOutputs = outputs }"""
    )
    try:
        front_end.page.wait_for_function(
            "() => [...document.querySelectorAll('.vrt-slider-stage img')].filter(i => i.naturalWidth).length === 2",
            timeout=10_000,
        )
    finally:
        front_end.page.evaluate("() => { delete app.canvas.draw }")


def test_template_browser_lists_and_loads_the_workflows(front_end: FrontEnd) -> None:
    page = front_end.page
    page.evaluate("() => { app.extensionManager.command.execute('Comfy.BrowseTemplates') }")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(PACK, exact=True).first.click()
    for name in WORKFLOWS:
        dialog.get_by_role("heading", name=name, exact=True).wait_for()
    page.wait_for_function(
        "n => [...document.querySelectorAll('[role=dialog] img')].filter(i => i.naturalWidth === 400).length === n",
        arg=len(WORKFLOWS),
    )
    front_end.screenshot("templates")
    dialog.get_by_role("heading", name="vrt_restore_video", exact=True).click()
    page.wait_for_function("() => app.graph._nodes.some(node => node.type === 'VRTCompareVideo')")
    assert not front_end.unknown_nodes()


def test_help_opens_for_every_node(front_end: FrontEnd) -> None:
    ids = [path.stem for path in sorted((REPO / "vrt_nodes/web/docs").glob("*.md"))]
    assert len(ids) == 7
    for name in ids:
        title = (REPO / f"vrt_nodes/web/docs/{name}.md").read_text().splitlines()[0].removeprefix("# ")
        front_end.open_help(name, title)
    front_end.screenshot("help")
    front_end.page.keyboard.press("Escape")


def test_cancel_in_the_middle_says_so(front_end: FrontEnd, server: Server) -> None:
    write_video(server.base / "input/longer.mp4", 1500)  # the browser may be slow to interrupt
    front_end.load_prompt(restore_video("longer.mp4"))
    folder = server.base / "temp/vrt"
    before = {*folder.glob("*")}
    with pytest.raises(PromptError, match="interrupted"):
        front_end.run(interrupt_after=2)
    assert {*folder.glob("*")} == before


def test_seldom_used_inputs_are_unfolded_from_the_menu(front_end: FrontEnd) -> None:
    """On the canvas; nodes of the newer kind have a button for it."""
    assert front_end.place("VRTRestoreVideo") == ["sigma_255", "factor"]
    front_end.screenshot("folded")
    front_end.page.mouse.click(*front_end.title_place(), button="right")
    front_end.page.locator(".litemenu-entry").get_by_text("Show Advanced", exact=True).click()
    front_end.page.wait_for_function("() => app.graph._nodes[0].showAdvanced")
    assert front_end.visible_widgets()[2:] == ["window_frames", "overlap_frames", *TILES, "crf", *STRENGTH]
    front_end.screenshot("unfolded")


def test_missing_weights_are_explained(front_end: FrontEnd) -> None:
    front_end.load_prompt(restore_images(model="001_VRT_videosr_bi_REDS_6frames"))
    with pytest.raises(PromptError, match="curl"):
        front_end.run()
    text = front_end.page.get_by_text("CC-BY-NC-4.0")  # newer front ends put it into a panel, behind an "i"
    more = front_end.page.get_by_role("button", name="View details")
    text.or_(more).first.wait_for()
    if more.is_visible():
        more.click()
        front_end.page.get_by_role("button", name="Info for Load VRT Model - model_name").click()
    text.first.wait_for()
    front_end.page.wait_for_timeout(500)
    front_end.screenshot("missing-weights")


def test_newer_nodes_and_chinese_texts(browser: Browser, server: Server) -> None:
    """As a user in China sees them; nodes of the newer kind are drawn where the front end does that well."""
    newer = "Video Slice" in server.get("/object_info")  # that is from the time when they had grown up
    with opened(browser, server.url, name="-zh", Locale="zh", VueNodes_Enabled=newer) as front_end:
        front_end.load(load("vrt_compare"))
        front_end.run()
        for widget in front_end.compare_widgets(2):
            assert [tag.split()[0] for tag in widget["tags"]] == ["处理前", "处理后"]
        labels = front_end.page.evaluate("() => app.graph._nodes.flatMap(n => n.widgets ?? []).map(w => w.label)")
        assert {"模型名称", "噪声强度"} <= {*labels}
        if newer:
            front_end.page.get_by_text("加载 VRT 模型").first.wait_for()
            front_end.page.get_by_text("窗口帧数").first.wait_for(state="hidden")
            front_end.page.get_by_role("button", name="显示高级输入").first.wait_for()
        front_end.show_all()
        front_end.screenshot("vrt_compare")
        front_end.open_help("VRTRestore", "VRT 修复")
        front_end.page.get_by_text("每一帧都借助其相邻帧修复").wait_for()
