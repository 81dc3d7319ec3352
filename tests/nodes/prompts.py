"""Prompts: graphs in the form of the server's API."""

from __future__ import annotations

from typing import Any

from tests.nodes.comfy_server import Prompt

WINDOW: dict[str, Any] = {
    "window_frames": -1, "overlap_frames": -1, "tile_px": -1, "tile_overlap_px": -1, "cuts": "auto"
}  # fmt: skip
TILES: dict[str, Any] = {name: WINDOW[name] for name in ("tile_px", "tile_overlap_px", "cuts")}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def load_model(name: Any = "denoise-small") -> dict[str, Any]:
    return node("VRTLoadModel", model_name=name, precision="fp32")


def restore_images(
    image: str = "example.png",
    *,
    model: Any = "denoise-small",
    sigma_255: Any = 20.0,
    frames: int = 3,
    **options: Any,
) -> Prompt:
    """Load an image, repeat it, restore that (node 4), and save the frames (node 5)."""
    return {
        "1": load_model(model),
        "2": node("LoadImage", image=image),
        "3": node("RepeatImageBatch", image=["2", 0], amount=frames),
        "4": node("VRTRestore", model=["1", 0], images=["3", 0], sigma_255=sigma_255, **{**WINDOW, **options}),
        "5": node("SaveImage", images=["4", 0], filename_prefix="restored"),
    }


def restore_video(
    file: str = "video.mp4", *, model: str = "denoise-small", sigma_255: float = 20.0, **options: Any
) -> Prompt:
    """Load a video, restore it (node 3), and save it (node 4)."""
    fields = {"sigma_255": sigma_255, "factor": "2", "crf": 16.0, **WINDOW, **options}
    return {
        "1": load_model(model),
        "2": node("LoadVideo", file=file),
        "3": node("VRTRestoreVideo", model=["1", 0], video=["2", 0], **fields),
        "4": node("SaveVideo", video=["3", 0], filename_prefix="restored", format="auto", codec="auto"),
    }
