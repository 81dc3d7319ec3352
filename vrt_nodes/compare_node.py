"""The nodes VRT Compare and VRT Compare Video: before and after under one slider, which ``web/`` draws.

The result for ``web/`` is a dict of two lists, ``vrt_before`` and ``vrt_after``, of the same length: several entries
for images, one for videos. An entry has the arguments of ComfyUI's /view: ``filename``, ``subfolder``, ``type``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy_api.latest import InputImpl, io
from PIL import Image
from torch import Tensor

from ._bridge import clip, container, formats, output_plan
from .execution import check_images
from .run_progress import RunProgress
from .video_io import TensorReader, open_video, trim_window
from .video_node import DEFAULT_CRF
from .video_output import open_writer, temporary_file
from .widgets import make_schema

if TYPE_CHECKING:
    from vrt_media.reader import VideoReader

MAX_IMAGES = 16
WEB_SUFFIXES = {".mp4", ".m4v", ".mov", ".webm"}
WEB_CODECS = {"h264", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d"}
WEB_FORMATS = {"yuv420p", "yuvj420p"}


class Compare(io.ComfyNode):
    """Shows two batches of images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and texts."""
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
        """Save the images that are shown."""
        check_images(before, "before")
        check_images(after, "after")
        count = min(MAX_IMAGES, max(len(before), len(after)))
        return io.NodeOutput(ui={"vrt_before": _save_some(before, count), "vrt_after": _save_some(after, count)})


class CompareVideo(io.ComfyNode):
    """Shows two videos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and texts."""
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
        """Return files that a browser can play: the videos' own, or copies."""
        entries = {"vrt_before": [_playable(before, "before")], "vrt_after": [_playable(after, "after")]}
        return io.NodeOutput(ui=entries)


def _save_some(images: Tensor, count: int) -> list[dict[str, str]]:
    """Save `count` images, evenly spaced in a batch (T, H, W, C); return their entries."""
    entries = []
    for i in range(count):
        image = images[i * len(images) // count][..., :3].clamp(0, 1).mul(255).round().byte()
        path = temporary_file("compare", ".png")
        Image.fromarray(image.cpu().numpy()).save(path, compress_level=1)
        entries.append(_entry(path))
    return entries


def _playable(video: Any, name: str) -> dict[str, str]:
    """Return the entry of a video's own file if a browser can play it from there, else of a copy.

    Args:
        video: The video.
        name: Name of the input.
    """
    has_edits = getattr(video, "has_pending_frame_edits", lambda: False)()
    if isinstance(video, InputImpl.VideoFromFile) and not (has_edits or any(trim_window(video))):
        source = video.get_stream_source()
        if isinstance(source, str) and _folder_of(Path(source)) and _plays_in_browsers(source):
            return _entry(Path(source))
    progress = RunProgress(f"copying {name}", shows_preview=False)
    with open_video(video, progress.warn_user) as reader:
        return _entry(_copy(reader, progress))


def _copy(source: VideoReader | TensorReader, progress: RunProgress) -> Path:
    """Encode a video into a temporary file; return its path."""
    info = source.info
    progress.start(info.num_frames)
    shape = output_plan.OutputShape(height=info.height, width=info.width, rate=info.rate, time_base=info.time_base)
    path = temporary_file("compare", ".mp4")
    with open_writer(path, source, shape, DEFAULT_CRF, progress.warn_user, for_browsers=True) as output:
        for n, frame in enumerate(source.frames(output.copy)):
            progress.raise_if_cancelled()
            output.write(frame.rgb, n if frame.pts is None else frame.pts)
            progress.on_frame(frame.rgb)
    progress.finish()
    return path


def _plays_in_browsers(path: str) -> bool:
    """Return whether all common browsers can play a file."""
    if Path(path).suffix.lower() not in WEB_SUFFIXES:
        return False
    try:
        file = container.open_input(path, formats.self_contained_options())
    except clip.MediaError:
        return False
    with file:
        streams = file.streams.video
        return bool(streams) and streams[0].codec_context.name in WEB_CODECS and streams[0].format.name in WEB_FORMATS


def _folder_of(path: Path) -> tuple[str, str] | None:
    """Return kind and path of the ComfyUI folder that a file is in, None if it is in none."""
    folders = {
        "temp": folder_paths.get_temp_directory(),
        "output": folder_paths.get_output_directory(),
        "input": folder_paths.get_input_directory(),
    }
    return next(((kind, folder) for kind, folder in folders.items() if path.is_relative_to(folder)), None)


def _entry(path: Path) -> dict[str, str]:
    """Return the arguments of /view for a file in one of ComfyUI's folders."""
    kind, folder = _folder_of(path) or ("", "")
    subfolder = path.relative_to(folder).parent.as_posix()
    return {"filename": path.name, "subfolder": "" if subfolder == "." else subfolder, "type": kind}
