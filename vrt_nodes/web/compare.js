// Before and after, drawn on the nodes VRT Compare and VRT Compare Video.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { Slider } from "./slider.js";

const IMAGES = "VRTCompare";
const VIDEOS = "VRTCompareVideo";
const LEAST_HEIGHT = 220;
const WATCH_MS = 500;

const address = ({ filename, subfolder, type }) =>
  api.apiURL("/view?" + new URLSearchParams({ filename, subfolder, type, t: Date.now() }));

function chain(object, name, more) {
  const first = object[name];
  object[name] = function (...values) {
    const result = first?.apply(this, values);
    more.apply(this, values);
    return result;
  };
}

/** Zooming and dragging the canvas works over the widget as it does beside it. */
function passToCanvas(element) {
  element.addEventListener("wheel", (event) => app.canvas.processMouseWheel(event));
  element.addEventListener("pointerdown", (event) => event.button === 1 && app.canvas.processMouseDown(event));
  element.addEventListener("pointermove", (event) => event.buttons & 4 && app.canvas.processMouseMove(event));
  element.addEventListener("pointerup", (event) => event.button === 1 && app.canvas.processMouseUp(event));
}

function addSlider(node) {
  const word = (name) => node.inputs?.find((input) => input.name === name)?.localized_name || name;
  const slider = new Slider({ before: word("before"), after: word("after"), empty: "Run the workflow to compare." });
  passToCanvas(slider.stage);
  const widget = node.addDOMWidget("before_after", "vrt_before_after", slider.root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => LEAST_HEIGHT,
  });
  widget.serialize = false;
  node.setSize([Math.max(node.size[0], 400), Math.max(node.size[1], 380)]);

  const fill = (output) => {
    const { vrt_before: before, vrt_after: after } = output ?? {};
    if (!before?.length || !after?.length) return;
    if (node.comfyClass === VIDEOS) slider.showVideos(address(before[0]), address(after[0]));
    else slider.showImages(before.map(address), after.map(address));
  };
  chain(node, "onExecuted", fill);
  // Back from another tab, the front end has what was shown before, but tells nobody; some renderers call no hook, either.
  const watch = setInterval(() => slider.before || fill(app.nodeOutputs?.[node.id]), WATCH_MS);
  chain(node, "onRemoved", () => {
    clearInterval(watch);
    slider.clear();
  });
}

app.registerExtension({
  name: "vrt.compare",
  nodeCreated(node) {
    if ([IMAGES, VIDEOS].includes(node.comfyClass)) addSlider(node);
  },
});
