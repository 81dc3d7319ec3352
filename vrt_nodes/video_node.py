"""VRT Restore Video: from file to file, in memory that does not grow with the length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from comfy_api.latest import InputImpl, io
from torch import Tensor

from ._bridge import timeline
from .execution import ONE_FRAME, run_settings
from .loaded_model import Handle, make_restorer
from .run_progress import Monitor
from .video_in import FileClip, TensorClip, open_clip
from .video_out import VideoWriter, temporary_file
from .widgets import advanced, make_schema, model_input, option_input, rare_inputs

DEFAULT_CRF = 16
FEW_FRAMES = 100
"""More than a window: what is planned with where a file does not tell its length."""


class RestoreVideo(io.ComfyNode):
    """Restores a video file with any model, frame by frame, into a temporary file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return what ComfyUI shows."""
        return make_schema(
            node_id="VRTRestoreVideo",
            display_name="VRT Restore Video",
            description="Restores a video of any length: frames go from file to file, so memory does not grow with "
            "the length. Takes every VRT model. Sound is kept. Save Video keeps the result.",
            search_aliases=["video denoise", "video deblur", "video upscale", "video frame interpolation"],
            inputs=[
                model_input(),
                io.Video.Input("video", tooltip="From Load Video, Trim Video, or another node."),
                option_input("sigma_255"),
                option_input("factor"),
                *rare_inputs("window_frames", "overlap_frames", "tile_px", "tile_overlap_px", "cuts"),
                advanced(
                    io.Float.Input(
                        "crf",
                        default=float(DEFAULT_CRF),
                        min=0.0,
                        max=51.0,
                        step=1.0,
                        tooltip="Quality of the H.264 result: lower is better and larger; 0 loses nothing but colour "
                        "resolution.",
                    )
                ),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="H.264 in MP4, with the sound; a temporary file until Save Video keeps it.",
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, video: Any, crf: float, **fields: Any) -> io.NodeOutput:
        """Restore it."""
        settings, doors = run_settings([model], fields)
        monitor = Monitor()
        with closing(open_clip(video, monitor.note)) as clip:
            return io.NodeOutput(InputImpl.VideoFromFile(_restore(model, clip, monitor, settings, doors, crf)))


def _restore(
    model: Handle,
    clip: FileClip | TensorClip,
    monitor: Monitor,
    settings: dict[str, Any],
    doors: dict[str, Any],
    crf: float,
) -> str:
    """Restore a clip into a temporary file; return its path."""
    if clip.num_frames == 1:
        monitor.note(ONE_FRAME)
    restorer = make_restorer([model], clip.num_frames or FEW_FRAMES, clip.height, clip.width, **settings)
    factor = restorer.frame_factor
    monitor.expect(None if clip.num_frames is None else factor * clip.num_frames)
    usual = max(1, round(1 / (clip.rate * clip.time_base)))
    times = timeline.Timeline(time_base=clip.time_base, frame_duration=usual, factor=factor)

    def frames() -> Iterator[Tensor]:
        for frame, stamp in clip.frames():
            monitor.check()
            times.push(stamp)
            yield frame

    height, width = restorer.scale * clip.height, restorer.scale * clip.width
    with VideoWriter(
        temporary_file("restored", ".mp4", width, height),
        height=height,
        width=width,
        rate=factor * clip.rate,
        time_base=times.time_base,
        aspect=clip.aspect,
        crf=crf,
    ) as writer:
        clip.add_sound(writer.container)
        results = restorer.stream(frames(), on_step=monitor.on_step, check=monitor.check, **doors)
        for n, frame in enumerate(results):
            writer.write(frame, times.stamp(n))
            monitor.on_frame(frame)
    monitor.finish()
    return str(writer.path)
