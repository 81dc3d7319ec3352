"""Schemas, inputs and outputs."""

from dataclasses import dataclass, field
from typing import Any


class Input:
    def __init__(self, id: str, *, optional: bool = False, tooltip: str | None = None, **facts: Any) -> None:
        self.id, self.optional, self.tooltip, self.facts = id, optional, tooltip, facts
        self.extra_dict: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None


class Output:
    def __init__(self, *, display_name: str | None = None, tooltip: str | None = None) -> None:
        self.display_name, self.tooltip = display_name, tooltip


def Custom(io_type: str, kind: type = object) -> Any:  # noqa: N802 (ComfyUI's name)
    members = {base.__name__: type(base.__name__, (base,), {"io_type": io_type}) for base in (Input, Output)}
    return type(io_type, (), {"io_type": io_type, "Type": kind, **members})


Int, Float, String = Custom("INT", int), Custom("FLOAT", float), Custom("STRING", str)
Combo, Image, Video = Custom("COMBO", str), Custom("IMAGE"), Custom("VIDEO")


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False


class ComfyNode:
    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def execute(cls, *args: Any, **kwargs: Any) -> "NodeOutput":
        raise NotImplementedError


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args, self.ui = args, ui

    def __getitem__(self, index: int) -> Any:
        return self.args[index]
