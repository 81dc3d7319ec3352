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
