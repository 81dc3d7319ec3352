"""Model cards and weight files: lookup, download, verification, loading."""

from .cards import COMPONENTS
from .checkpoint import card_for_file, save_weights
from .store import WeightsInfo, find_weights, inspect_weights, load_network, load_weights, models_dir

__all__ = [
    "COMPONENTS",
    "WeightsInfo",
    "card_for_file",
    "find_weights",
    "inspect_weights",
    "load_network",
    "load_weights",
    "models_dir",
    "save_weights",
]
