"""Exceptions of the project. A message names the argument, its value, the rule, the unit, and the remedy."""

from __future__ import annotations


class VRTError(Exception):
    """Base class of all errors that this project raises on purpose."""


class InputError(VRTError, ValueError):
    """An argument or a frame is invalid."""


class WeightsError(VRTError, RuntimeError):
    """Weights are missing, damaged, of another model, or cannot be downloaded."""


class NumericsError(VRTError, RuntimeError):
    """A result is not finite."""


class OutOfMemoryError(VRTError, MemoryError):
    """Memory does not suffice, even with the smallest tiles; the cause is the error of torch."""


class Cancelled(VRTError):
    """The caller cancelled the work."""


def short_repr(value: object) -> str:
    """Return a value from a stranger's file as messages show it: in one line of at most some 80 ASCII characters."""
    if isinstance(value, (list, tuple, dict, set)):
        return f"a {type(value).__name__} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
