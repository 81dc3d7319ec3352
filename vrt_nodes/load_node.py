"""The node Load VRT Model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ._bridge import core
from .loaded_model import LoadedModel
from .model_files import find_model_files, model_names, model_state
from .widgets import VRTModel, make_schema, option_input


class LoadModel(io.ComfyNode):
    """Loads a model; ComfyUI moves it to the GPU when a node needs it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs, outputs and texts."""
        return make_schema(
            node_id="VRTLoadModel",
            display_name="Load VRT Model",
            description="Loads a VRT model: one that ships, an official one, or a file of your own in models/vrt.",
            search_aliases=["video restoration", "denoise", "deblur", "upscale", "super-resolution", "interpolate"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=model_names(),
                    tooltip="Models that ship with VRT work at once. Official ones (001 to 010) are not included: "
                    "choose one, and the node says where its file belongs. Files of your own go to models/vrt.",
                ),
                option_input("precision", is_advanced=True),
            ],
            outputs=[VRTModel.Output(display_name="model", tooltip="For the other VRT nodes.")],
        )

    @classmethod
    def execute(cls, model_name: str, precision: str) -> io.NodeOutput:
        """Load the model."""
        return io.NodeOutput(LoadedModel(model_name, find_model_files(model_name), precision))

    @classmethod
    def validate_inputs(cls, model_name: str) -> bool | str:
        """Return True, or before the run the message that a file is missing."""
        try:
            find_model_files(model_name)
        except core.WeightsError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, model_name: str, precision: str) -> Any:
        """Return a value that changes when the model must be loaded again."""
        return model_state(model_name)
