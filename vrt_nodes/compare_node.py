"""VRT Compare and VRT Compare Video: before and after under one slider, drawn by ``web/``.

What ``web/`` gets is a dict with two lists, ``vrt_before`` and ``vrt_after``: of equally many entries for images, of
one each for videos. An entry is what ComfyUI's /view takes: ``filename``, ``subfolder``, ``type``.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import av
import folder_paths
from comfy_api.latest import InputImpl, io
from PIL import Image
from torch import Tensor

from .execution import check_images
from .run_progress import Monitor
from .video_in import FileClip, TensorClip, open_clip
from .video_node import DEFAULT_CRF
from .video_out import VideoWriter, temporary_file
from .widgets import make_schema

MOST_IMAGES = 16
WEB_SUFFIXES = {".mp4", ".m4v", ".mov", ".webm"}
WEB_CODECS = {"h264", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d"}
WEB_FORMATS = {"yuv420p", "yuvj420p"}


class Compare(io.ComfyNode):
    """Shows two batches of images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return what ComfyUI shows."""
        return make_schema(
            node_id="VRTCompare",
            display_name="VRT Compare",
            description="Shows images before and after under one slider. Of long batches, a few frames are shown.",
            search_aliases=["before after", "compare images"],
            is_output_node=True,
            inputs=[
                io.Image.Input("before", tooltip="Left of the slider."),
                io.Image.Input("after", tooltip="Right of the slider; may be larger, or hold more frames."),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, before: Any, after: Any) -> io.NodeOutput:
        """Save what is to be shown."""
        check_images(before, "before")
        check_images(after, "after")
        count = min(MOST_IMAGES, max(len(before), len(after)))
        shown = {"vrt_before": _save_some(before, count), "vrt_after": _save_some(after, count)}
        return io.NodeOutput(ui=shown)


class CompareVideo(io.ComfyNode):
    """Shows two videos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return what ComfyUI shows."""
        return make_schema(
            node_id="VRTCompareVideo",
            display_name="VRT Compare Video",
            description="Plays two videos together, before and after under one slider.",
            search_aliases=["before after", "compare videos"],
            is_output_node=True,
            inputs=[
                io.Video.Input("before", tooltip="Left of the slider."),
                io.Video.Input("after", tooltip="Right of the slider; may be larger, or have more frames."),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, before: Any, after: Any) -> io.NodeOutput:
        """Find or make files that a browser can play."""
        monitor = Monitor()
        shown = {"vrt_before": [_playable(before, monitor)], "vrt_after": [_playable(after, monitor)]}
        return io.NodeOutput(ui=shown)


def _save_some(images: Tensor, count: int) -> list[dict[str, str]]:
    """Save so many images, evenly taken from a batch (T, H, W, C); return their entries."""
    entries = []
    for i in range(count):
        image = images[i * len(images) // count][..., :3].clamp(0, 1).mul(255).round().byte()
        path = temporary_file("compare", ".png")
        Image.fromarray(image.cpu().numpy()).save(path, compress_level=1)
        entries.append(_entry(path))
    return entries


def _playable(video: Any, monitor: Monitor) -> dict[str, str]:
    """Return the entry of a video's own file if a browser can play it from there, else of a copy."""
    edited = getattr(video, "has_pending_frame_edits", lambda: False)()
    trimmed = any(getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))())
    if isinstance(video, InputImpl.VideoFromFile) and not (edited or trimmed):
        source = video.get_stream_source()
        if isinstance(source, str) and _folder_of(Path(source)) and _plays_in_browsers(source):
            return _entry(Path(source))
    with closing(open_clip(video, monitor.note)) as clip:
        return _entry(_copy(clip, monitor))


def _copy(clip: FileClip | TensorClip, monitor: Monitor) -> Path:
    monitor.expect(clip.num_frames)
    with VideoWriter(
        temporary_file("compare", ".mp4"),
        height=clip.height,
        width=clip.width,
        rate=clip.rate,
        time_base=clip.time_base,
        aspect=clip.aspect,
        crf=DEFAULT_CRF,
    ) as writer:
        clip.add_sound(writer.container)
        for n, (frame, stamp) in enumerate(clip.frames()):
            monitor.check()
            writer.write(frame, n if stamp is None else stamp)
            monitor.on_frame(frame)
    return writer.path


def _plays_in_browsers(path: str) -> bool:
    """Return whether all browsers play a file."""
    if Path(path).suffix.lower() not in WEB_SUFFIXES:
        return False
    with av.open(path) as container:
        streams = container.streams.video
        return bool(streams) and streams[0].codec_context.name in WEB_CODECS and streams[0].format.name in WEB_FORMATS


def _folder_of(path: Path) -> tuple[str, str] | None:
    """Return which of ComfyUI's folders a file lies in, by kind and path; None if in none."""
    folders = {
        "temp": folder_paths.get_temp_directory(),
        "output": folder_paths.get_output_directory(),
        "input": folder_paths.get_input_directory(),
    }
    return next(((kind, folder) for kind, folder in folders.items() if path.is_relative_to(folder)), None)


def _entry(path: Path) -> dict[str, str]:
    """Return what /view takes for a file in one of ComfyUI's folders."""
    kind, folder = _folder_of(path) or ("", "")
    subfolder = path.relative_to(folder).parent.as_posix()
    return {"filename": path.name, "subfolder": "" if subfolder == "." else subfolder, "type": kind}
