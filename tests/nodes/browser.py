"""The front end of a running ComfyUI in Debian's Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.nodes.comfy_server import REPO, Prompt, PromptError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = REPO / "test_screenshots"
WAIT_SECONDS = 240

WIDGET = ".vrt-slider"

_OUTCOME = """async interruptAfter => {
    const ends = ["execution_success", "execution_error", "execution_interrupted"];
    const ended = new Promise(resolve => ends.forEach(
        name => app.api.addEventListener(name, event => resolve([name, event.detail?.exception_message]))));
    const messages = window.messages = {progress: [], previews: 0, texts: []};
    app.api.addEventListener("progress", event => {
        messages.progress.push([event.detail.value, event.detail.max]);
        if (messages.progress.length === interruptAfter) app.api.interrupt();
    });
    app.api.addEventListener("b_preview", () => messages.previews++);
    app.api.addEventListener("progress_text", event => messages.texts.push(event.detail.text));
    await app.queuePrompt(0);
    const faults = Object.values(app.lastNodeErrors ?? {}).flatMap(node => node.errors);
    return faults.length ? ["refused", faults.map(e => e.message + ": " + e.details).join("; ")] : await ended;
}"""


def find_chromium() -> str:
    """Return the path of Chromium; skip the test if it or playwright is missing."""
    pytest.importorskip("playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return path or pytest.skip("no Chromium here: apt-get install chromium")


class FrontEnd:
    """A page with the front end."""

    def __init__(self, page: Page, version: str, name: str = "") -> None:
        self.page, self.version, self._name = page, version, name

    def load(self, graph: Any) -> None:
        """Load a workflow, as the browser of templates does."""
        self.page.evaluate("async graph => { await app.loadGraphData(graph) }", graph)
        self.page.wait_for_function("n => app.graph._nodes.length === n", arg=len(graph["nodes"]))
        self.page.evaluate("() => app.canvas.draw(true, true)")

    def load_prompt(self, prompt: Prompt) -> None:
        """Load a prompt."""
        self.page.evaluate("async prompt => { await app.loadApiJson(prompt, 'test') }", prompt)

    def unknown_nodes(self) -> list[str]:
        """Return node types of the graph that ComfyUI does not have."""
        return self.page.evaluate(
            "() => app.graph._nodes.map(node => node.type)"
            ".filter(type => !LiteGraph.registered_node_types[type] && type !== 'MarkdownNote')"
        )

    def run(self, *, interrupt_after: int = 0) -> dict[str, Any]:
        """Press Run, wait for the end, and return what was sent meanwhile: progress, previews, texts.

        Args:
            interrupt_after: Messages of progress after which to press Cancel; 0 for never.

        Raises:
            PromptError: If it does not succeed.
        """
        end, message = self.page.evaluate(_OUTCOME, interrupt_after)
        if end != "execution_success":
            raise PromptError(message or end)
        return self.page.evaluate("() => messages")

    def compare_widgets(self, num_nodes: int) -> list[Mapping[str, Any]]:
        """Wait until the compare widgets show their media; return kinds, tags, count and message of each."""
        self.page.wait_for_function(
            """n => { const sliders = [...document.querySelectorAll('.vrt-slider')];
              return sliders.length === n && sliders.every(slider => {
                const media = [...slider.querySelectorAll('img, video')];
                const isTagged = [...slider.querySelectorAll('.vrt-slider-tag')].every(tag => tag.textContent);
                return isTagged && media.length === 2 && media.every(m => m.naturalWidth || m.readyState >= 2) }) }""",
            arg=num_nodes,
        )
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.vrt-slider')].map(slider => ({
              kinds: [...slider.querySelectorAll('img, video')].map(medium => medium.tagName),
              tags: [...slider.querySelectorAll('.vrt-slider-tag')].map(tag => tag.textContent),
              count: slider.querySelector('output').textContent,
              message: slider.querySelector('.vrt-slider-message').textContent }))"""
        )

    def wait_for_results(self) -> None:
        """Wait until ComfyUI's own nodes show the files that they have saved."""
        self.page.wait_for_function(
            """() => app.graph._nodes.filter(node => ['SaveImage', 'SaveVideo'].includes(node.type)).every(
              node => node.imgs?.length || node.videoContainer?.querySelector('video')?.readyState >= 1
                || document.querySelector(`[data-node-id="${node.id}"] video, [data-node-id="${node.id}"] img`))"""
        )

    def open_help(self, node_id: str, title: str) -> None:
        """Open the help page of a node, alone in a new graph, and wait for its heading."""
        self.place(node_id)
        self.page.evaluate("() => { app.canvas.selectNode(app.graph._nodes[0], false); app.canvas.draw(true, true) }")
        heading = self.page.get_by_role("heading", name=title, exact=True, level=1).first
        for _ in range(5):  # the button comes with an animation, and a click on its way there is lost
            self.page.wait_for_timeout(500)
            if heading.is_visible():
                return
            self.page.locator('[data-testid="info-button"]').first.click()
            self.page.wait_for_timeout(1500)
        heading.wait_for(timeout=5000)

    def place(self, node_id: str) -> list[str]:
        """Put a node, alone, into a new graph; return the names of the widgets that it shows."""
        self.page.evaluate(
            """id => { app.graph.clear(); const node = LiteGraph.createNode(id);
               app.graph.add(node); app.canvas.ds.scale = 1; app.canvas.centerOnNode(node);
               app.canvas.draw(true, true) }""",
            node_id,
        )
        self.page.wait_for_timeout(500)
        return self.visible_widgets()

    def visible_widgets(self) -> list[str]:
        """Return the names of the widgets that the first node shows."""
        return self.page.evaluate(
            "() => { const node = app.graph._nodes[0];"
            " return node.widgets.filter(widget => node.isWidgetVisible(widget)).map(widget => widget.name) }"
        )

    def title_place(self) -> tuple[float, float]:
        """Return the position of the first node's title in the window."""
        x, y = self.page.evaluate(
            """() => { const node = app.graph._nodes[0], box = app.canvas.canvas.getBoundingClientRect();
               const at = app.canvas.convertOffsetToCanvas([node.pos[0] + 60, node.pos[1] - 15]);
               return [box.left + at[0], box.top + at[1]] }"""
        )
        return x, y

    def show_all(self) -> None:
        """Fit the graph to the window."""
        self.page.evaluate("async () => { await app.extensionManager.command.execute('Comfy.Canvas.FitView') }")
        self.page.wait_for_timeout(700)

    def screenshot(self, name: str) -> Path:
        """Save a screenshot."""
        SCREENSHOTS.mkdir(exist_ok=True)
        path = SCREENSHOTS / f"{self.version}-{name}{self._name}.png"
        self.page.screenshot(path=path)
        return path


@contextmanager
def launched(chromium: str) -> Iterator[Browser]:
    """Start a browser.

    Args:
        chromium: From ``find_chromium``.
    """
    from playwright.sync_api import sync_playwright  # not on machines without a browser

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, *, name: str = "", **settings: Any) -> Iterator[FrontEnd]:
    """Open a server's front end in a page of its own, with its welcome dialogs off.

    Args:
        browser: From ``launched``.
        url: Of the server.
        name: Ends the names of the screenshots, after the version of ComfyUI.
        settings: Of the front end, in addition; with _ for the dots in their names, and without "Comfy".
    """
    page = browser.new_page(viewport={"width": 1500, "height": 950})
    page.set_default_timeout(WAIT_SECONDS * 1000)
    all_settings = {
        "TutorialCompleted": True,
        "Minimap_Visible": False,
        "Locale": "en",
        "VueNodes_Enabled": False,
        **settings,
    }
    page.request.post(
        url + "/settings", data={f"Comfy.{key.replace('_', '.')}": value for key, value in all_settings.items()}
    )
    version = json.loads(page.request.get(url + "/system_stats").body())["system"]["comfyui_version"]
    page.goto(url, wait_until="commit")
    page.wait_for_function("() => window.app?.graph && app.extensionManager?.workflow?.activeWorkflow")
    try:
        yield FrontEnd(page, version, name)
    finally:
        page.close()
