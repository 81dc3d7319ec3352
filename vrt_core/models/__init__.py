"""Model cards and weight files: lookup, download, verification, loading.

Importing this package does not load torch.
"""

from .cards import COMPONENTS
from .checkpoint import WEIGHT_SUFFIXES, card_for_file, save_weights
from .http import RetryPolicy
from .store import WeightsInfo, find_weights, inspect_weights, load_network, load_weights, models_dir

__all__ = [
    "COMPONENTS",
    "WEIGHT_SUFFIXES",
    "RetryPolicy",
    "WeightsInfo",
    "card_for_file",
    "find_weights",
    "inspect_weights",
    "load_network",
    "load_weights",
    "models_dir",
    "save_weights",
]
