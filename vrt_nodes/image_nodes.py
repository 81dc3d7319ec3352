"""The nodes that restore batches of images: VRT Restore, VRT Interpolate, VRT Space-Time SR."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .execution import check_model, restore_images
from .widgets import VRTModel, advanced_inputs, make_schema, model_input, option_input, strength_inputs

IMAGES_TIP = "Frames of a video, in order."


class Restore(io.ComfyNode):
    """Denoises, deblurs or enlarges the frames of a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs, outputs and texts."""
        return make_schema(
            node_id="VRTRestore",
            display_name="VRT Restore",
            description="Denoises, deblurs or enlarges the frames of a video, each with the help of its neighbours. "
            "Long videos take less memory with VRT Restore Video.",
            search_aliases=["denoise", "deblur", "upscale", "super-resolution", "enhance", "video restoration"],
            inputs=[
                model_input(),
                io.Image.Input("images", tooltip=IMAGES_TIP),
                option_input("sigma_255"),
                *advanced_inputs("window_frames", "overlap_frames", "tile_px", "tile_overlap_px", "cuts"),
                *strength_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="As many frames; four times as wide and high if the model enlarges."
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, images: Any, **widgets: Any) -> io.NodeOutput:
        """Restore the images."""
        check_model(model, "VRT Restore", ("denoise", "deblur", "sr"))
        return io.NodeOutput(restore_images([model], images, widgets))


class Interpolate(io.ComfyNode):
    """Interpolates frames between the frames of a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs, outputs and texts."""
        return make_schema(
            node_id="VRTInterpolate",
            display_name="VRT Interpolate",
            description="Makes frames between the frames of a video: 2, 4 or 8 times as many. Multiply the frame rate "
            "by the same number to keep the speed.",
            search_aliases=["frame interpolation", "interpolate", "slow motion", "frame rate", "fps"],
            inputs=[
                model_input(),
                io.Image.Input("images", tooltip=IMAGES_TIP),
                option_input("factor"),
                *advanced_inputs("tile_px", "tile_overlap_px", "cuts"),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="So many times as many frames; those given are among them."
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, images: Any, **widgets: Any) -> io.NodeOutput:
        """Interpolate the images."""
        check_model(model, "VRT Interpolate", ("interpolate",))
        return io.NodeOutput(restore_images([model], images, widgets))


class SpaceTimeSR(io.ComfyNode):
    """Enlarges the frames of a clip and interpolates between them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs, outputs and texts."""
        return make_schema(
            node_id="VRTSpaceTimeSR",
            display_name="VRT Space-Time SR",
            description="Enlarges the frames of a video, then makes frames between them: 2, 4 or 8 times as many.",
            search_aliases=["space-time super-resolution", "upscale", "interpolate"],
            inputs=[
                model_input(),
                io.Image.Input("images", tooltip=IMAGES_TIP),
                VRTModel.Input(
                    "interpolate_model",
                    optional=True,
                    tooltip="Model that makes the frames between; not needed if the first does both, as 010 does.",
                ),
                option_input("factor"),
                *advanced_inputs("window_frames", "overlap_frames", "tile_px", "tile_overlap_px", "cuts"),
                *strength_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="So many times as many frames, four times as wide and high."
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, images: Any, interpolate_model: Any = None, **widgets: Any) -> io.NodeOutput:
        """Enlarge and interpolate the images."""
        if interpolate_model is None:
            check_model(model, "VRT Space-Time SR without interpolate_model", ("space-time-sr",))
            return io.NodeOutput(restore_images([model], images, widgets))
        check_model(model, "VRT Space-Time SR with interpolate_model", ("sr",))
        check_model(interpolate_model, "VRT Space-Time SR as interpolate_model", ("interpolate",))
        return io.NodeOutput(restore_images([model, interpolate_model], images, widgets))
