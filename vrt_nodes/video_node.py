"""The node VRT Restore Video: restores a file frame by frame, in memory that does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import InputImpl, io
from torch import Tensor

from ._bridge import clip, output_plan, timeline
from .execution import ONE_FRAME, comfyui_out_of_memory, run_options
from .loaded_model import LoadedModel, make_restorer
from .run_progress import RunProgress
from .video_io import TensorReader, open_video
from .video_output import keeping_frames, open_writer, temporary_file
from .widgets import (
    advanced_inputs,
    check_number,
    make_schema,
    mark_advanced,
    model_input,
    option_input,
    strength_inputs,
)

if TYPE_CHECKING:
    from vrt_core import RestoreOptions
    from vrt_media.reader import VideoReader

DEFAULT_CRF, MAX_CRF = 16, 51
ASSUMED_FRAMES = 100
"""Length of a clip that does not give it, for the memory estimate; longer than a window."""


class RestoreVideo(io.ComfyNode):
    """Restores a video file with any model, frame by frame, into a temporary file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs, outputs and texts."""
        return make_schema(
            node_id="VRTRestoreVideo",
            display_name="VRT Restore Video",
            description="Restores a video of any length: frames go from file to file, so memory does not grow with "
            "the length. Takes every VRT model. Sound is kept. Save Video keeps the result.",
            search_aliases=["denoise", "deblur", "upscale", "super-resolution", "frame interpolation", "slow motion"],
            inputs=[
                model_input(),
                io.Video.Input("video", tooltip="From Load Video, Trim Video, or another node."),
                option_input("sigma_255"),
                option_input("factor"),
                *advanced_inputs("window_frames", "overlap_frames", "tile_px", "tile_overlap_px", "cuts"),
                mark_advanced(
                    io.Float.Input(
                        "crf",
                        default=float(DEFAULT_CRF),
                        min=0.0,
                        max=float(MAX_CRF),
                        step=1.0,
                        tooltip="Quality of the H.264 result: lower is better and larger; 0 loses nothing but colour "
                        "resolution.",
                    )
                ),
                *strength_inputs(),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="H.264 in MP4, with the sound; a temporary file until Save Video keeps it.",
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, video: Any, crf: float, **widgets: Any) -> io.NodeOutput:
        """Restore the video."""
        options = run_options([model], widgets)
        crf = check_number("crf", crf, 0, MAX_CRF)
        progress = RunProgress()
        with open_video(video, progress.warn_user) as source:
            return io.NodeOutput(InputImpl.VideoFromFile(_restore(model, source, options, crf, progress)))


@comfyui_out_of_memory()
def _restore(
    model: LoadedModel,
    source: VideoReader | TensorReader,
    options: RestoreOptions,
    crf: float,
    progress: RunProgress,
) -> str:
    """Restore a video into a temporary file; return its path."""
    info = source.info
    if info.num_frames == 1:
        progress.warn_user(ONE_FRAME)
    options = replace(options, luma_weights=info.colour.luma_weights)
    restorer = make_restorer([model], options, (info.num_frames or ASSUMED_FRAMES, info.height, info.width))
    factor = restorer.frame_factor
    num_frames = None if info.num_frames is None else factor * info.num_frames
    progress.start(num_frames, restorer, (info.height, info.width))
    times = timeline.Timeline(time_base=info.time_base, frame_duration=info.frame_duration, factor=factor)
    shape = output_plan.OutputShape(
        height=restorer.scale * info.height,
        width=restorer.scale * info.width,
        rate=factor * info.rate,
        time_base=times.time_base,
    )
    path = temporary_file("restored", ".mp4", shape.width, shape.height)
    output = open_writer(path, source, shape, crf, progress.warn_user)
    read_error: Exception | None = None

    def frames() -> Iterator[Tensor]:
        nonlocal read_error
        try:
            for frame in source.frames(output.copy):
                progress.raise_if_cancelled()
                times.push(frame.pts)
                yield frame.rgb
        except (clip.MediaError, OSError, ValueError) as error:  # libav's, too; the frames before it are restored
            read_error = error

    try:
        with keeping_frames(output, progress.warn_user):
            results = restorer.stream(frames(), on_step=progress.on_step, check=progress.check)
            for n, frame in enumerate(results):
                output.write(frame, times.stamp(n))
                progress.on_frame(frame)
            if read_error is not None:
                raise read_error
    finally:
        progress.finish()
    return str(path)
