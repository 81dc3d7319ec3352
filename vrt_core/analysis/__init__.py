"""Scene cuts and noise level of frames, measured without a network."""

from .noise import estimate_sigma
from .scenes import CutDetector, find_cuts

__all__ = ["CutDetector", "estimate_sigma", "find_cuts"]
