"""Inputs of the nodes, built from the core's options, in a form that every ComfyUI from 0.3.64 on understands."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ._bridge import core

if TYPE_CHECKING:
    from vrt_core import Option, RestoreOptions

AUTOMATIC = -1
"""Value of a number widget that leaves the choice to the model or the engine."""

VRTModel = io.Custom("VRT_MODEL")

_SCHEMA_FIELDS = {field.name for field in fields(io.Schema)}


def make_schema(node_id: str, **facts: Any) -> io.Schema:
    """Return a node's schema, without the facts that this ComfyUI does not know yet."""
    return io.Schema(node_id=node_id, category="VRT", **{k: v for k, v in facts.items() if k in _SCHEMA_FIELDS})


def model_input() -> io.Input:
    """Return the input for the model that a node works with."""
    return VRTModel.Input("model", tooltip="From Load VRT Model.")


def option_input(name: str, *, is_advanced: bool = False, is_optional: bool = False) -> io.Input:
    """Return the widget of one of the core's options.

    Args:
        name: Name of the option and of the input.
        is_advanced: Whether to hide the widget among the advanced ones, where ComfyUI can.
        is_optional: Whether prompts may leave it out: those that were saved before the node had it.
    """
    option = core.OPTIONS[name]
    widget: io.Input
    if option.choices:
        words = [str(choice) for choice in option.choices]
        widget = io.Combo.Input(name, options=words, default=str(option.default), tooltip=option.help)
    else:
        kind: Any = io.Int if isinstance(option.step, int) else io.Float
        limits = {"min": AUTOMATIC if option.is_automatic else option.min, "max": option.max, "step": option.step}
        widget = kind.Input(
            name,
            default=kind.Type(AUTOMATIC if option.is_automatic else option.default),
            tooltip=f"{option.help} {AUTOMATIC}: automatic." if option.is_automatic else option.help,
            optional=is_optional,
            **{key: kind.Type(value) for key, value in limits.items() if value is not None},
        )
    return mark_advanced(widget) if is_advanced else widget


def advanced_inputs(*names: str) -> list[io.Input]:
    """Return the widgets of options that few users need, among the advanced ones."""
    return [option_input(name, is_advanced=True) for name in names]


def strength_inputs() -> list[io.Input]:
    """Return the widgets that mix restored frames with the input; prompts from before nodes had them still run."""
    names = ("strength", "chroma_strength")
    return [option_input(name, is_advanced=True, is_optional=True) for name in names]


def mark_advanced(widget: io.Input) -> io.Input:
    """Hide a widget among the advanced ones; older versions of ComfyUI show it."""
    widget.extra_dict["advanced"] = True
    return widget


def options_from_widgets(values: dict[str, Any]) -> RestoreOptions:
    """Return the core's options for the values of a node's widgets, by name.

    Raises:
        InputError: If a value is out of its range.
    """
    return core.RestoreOptions(**{name: _option_value(core.OPTIONS[name], value) for name, value in values.items()})


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """Return the value of a number widget, which the API may set to anything.

    Raises:
        InputError: If it is no number in the range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise core.InputError(f"{name} ({value!r}) must be a number from {low:g} to {high:g}")
    return value


def _option_value(option: Option, value: Any) -> Any:
    """Return the core's value for the value of an option's widget.

    Raises:
        InputError: If the widget does not have it.
    """
    if not option.choices:
        return option.default if option.is_automatic and value == AUTOMATIC else value
    for choice in option.choices:
        if str(choice) == str(value):
            return choice
    words = ", ".join(str(choice) for choice in option.choices)
    raise core.InputError(f"{option.name} ({value!r}) must be one of {words}")
