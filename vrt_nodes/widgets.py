"""Inputs of the nodes, made from the core's options, in the form that every ComfyUI from 0.3.64 on understands."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from comfy_api.latest import io

from ._bridge import core

AUTOMATIC = -1
"""What a number field holds where the model or the engine is to choose."""

VRTModel = io.Custom("VRT_MODEL")

_FIELDS = {field.name for field in fields(io.Schema)}


def make_schema(node_id: str, **facts: Any) -> io.Schema:
    """Return a node's schema; facts that this ComfyUI does not know yet are left out."""
    return io.Schema(node_id=node_id, category="VRT", **{k: v for k, v in facts.items() if k in _FIELDS})


def model_input() -> io.Input:
    """Return the model that a node works with."""
    return VRTModel.Input("model", tooltip="From Load VRT Model.")


def option_input(name: str, *, rare: bool = False) -> io.Input:
    """Return the field of one of the core's options.

    Args:
        name: Of the option; also of the input.
        rare: Whether to fold it away, where ComfyUI can.
    """
    option = core.OPTIONS[name]
    made: io.Input
    if option.choices:
        words = [str(choice) for choice in option.choices]
        made = io.Combo.Input(name, options=words, default=str(option.default), tooltip=option.help)
    else:
        kind: Any = io.Int if isinstance(option.step, int) else io.Float
        limits = {"min": AUTOMATIC if option.is_automatic else option.least, "max": option.most, "step": option.step}
        made = kind.Input(
            name,
            default=kind.Type(AUTOMATIC if option.is_automatic else option.default),
            tooltip=f"{option.help} {AUTOMATIC}: automatic." if option.is_automatic else option.help,
            **{key: kind.Type(value) for key, value in limits.items() if value is not None},
        )
    return advanced(made) if rare else made


def rare_inputs(*names: str) -> list[io.Input]:
    """Return the fields of options that few users need, folded away."""
    return [option_input(name, rare=True) for name in names]


def advanced(made: io.Input) -> io.Input:
    """Fold an input away; versions that cannot show it as ever."""
    made.extra_dict["advanced"] = True
    return made


def from_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the core's keyword arguments for what the fields of its options hold."""
    settings = {}
    for name, value in fields.items():
        option = core.OPTIONS[name]
        if option.is_automatic and not option.choices and value == AUTOMATIC:
            value = option.default
        elif option.choices:
            value = next(choice for choice in option.choices if str(choice) == str(value))
        settings[name] = value
    return settings
