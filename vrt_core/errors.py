"""What can go wrong, by kind. Messages name the argument, its value, the rule, the unit, and what to do."""

from __future__ import annotations


class VRTError(Exception):
    """Any error that this project raises on purpose."""


class InputError(VRTError, ValueError):
    """An argument or a frame that the engine cannot work with."""


class WeightsError(VRTError, RuntimeError):
    """Weights that are missing, damaged, of another model, or could not be fetched."""


class NumericsError(VRTError, RuntimeError):
    """A result that is not finite."""


class Cancelled(VRTError):
    """The caller asked to stop."""
