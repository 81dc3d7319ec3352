// Folds seldom-used inputs away on the canvas too, behind "Show Advanced" in the menu of a node. By itself the front end
// does so with its newer nodes only.

import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "vrt.fold",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("VRT")) return;
    for (const widget of node.widgets ?? []) if (widget.options?.advanced) widget.advanced = true;
  },
});
