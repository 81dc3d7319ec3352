"""VRT, the Video Restoration Transformer, as an engine: frames in, restored frames out, in bounded memory.

Start with ``load_restorer``; what it returns is a ``Restorer``, whose three doors take a whole clip, a stream of
frames, or one window at a time. Names are loaded when first used: importing the package does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.noise import estimate_sigma
    from .analysis.scenes import CutDetector, find_cuts, is_cut
    from .errors import Cancelled, InputError, NumericsError, VRTError, WeightsError
    from .export import export_onnx, export_program
    from .hardware.devices import pick_device, pick_dtype
    from .hardware.streams import Lane
    from .hardware.threads import compute_alone
    from .inference.blending import Share, blend
    from .inference.cache import Cache
    from .inference.memory import estimate_flow_memory, estimate_memory, usable_bytes
    from .inference.validation import Sigma
    from .inference.window_plan import Plan, Window
    from .loading import load_restorer, make_link, make_restorer
    from .models.cards import COMPONENTS, MODELS, ModelCard, find_model
    from .models.checkpoint import card_for_file, identify, save_weights
    from .models.download import download
    from .models.http import Patience
    from .models.store import (
        WeightsInfo,
        find_weights,
        inspect_weights,
        load_network,
        load_weights,
        models_dir,
        record_weights,
    )
    from .network import VRT, VRTConfig, build_network
    from .options import MAX_SIGMA_255, OPTIONS, Option
    from .restorer import Restorer

__version__ = "0.1.0"

__all__ = [
    "COMPONENTS",
    "MAX_SIGMA_255",
    "MODELS",
    "OPTIONS",
    "VRT",
    "Cache",
    "Cancelled",
    "CutDetector",
    "InputError",
    "Lane",
    "ModelCard",
    "NumericsError",
    "Option",
    "Patience",
    "Plan",
    "Restorer",
    "Share",
    "Sigma",
    "VRTConfig",
    "VRTError",
    "WeightsError",
    "WeightsInfo",
    "Window",
    "blend",
    "build_network",
    "card_for_file",
    "compute_alone",
    "download",
    "estimate_flow_memory",
    "estimate_memory",
    "estimate_sigma",
    "export_onnx",
    "export_program",
    "find_cuts",
    "find_model",
    "find_weights",
    "identify",
    "inspect_weights",
    "is_cut",
    "load_network",
    "load_restorer",
    "load_weights",
    "make_link",
    "make_restorer",
    "models_dir",
    "pick_device",
    "pick_dtype",
    "record_weights",
    "save_weights",
    "usable_bytes",
]

_NAMES = {
    "inference.blending": ("Share", "blend"),
    "inference.cache": ("Cache",),
    "models.checkpoint": ("card_for_file", "identify", "save_weights"),
    "inference.validation": ("Sigma",),
    "hardware.devices": ("pick_device", "pick_dtype"),
    "models.download": ("download",),
    "errors": ("Cancelled", "InputError", "NumericsError", "VRTError", "WeightsError"),
    "export": ("export_onnx", "export_program"),
    "models.http": ("Patience",),
    "loading": ("load_restorer", "make_link", "make_restorer"),
    "inference.memory": ("estimate_flow_memory", "estimate_memory", "usable_bytes"),
    "models.cards": ("COMPONENTS", "MODELS", "ModelCard", "find_model"),
    "network": ("VRT", "VRTConfig", "build_network"),
    "analysis.noise": ("estimate_sigma",),
    "options": ("MAX_SIGMA_255", "OPTIONS", "Option"),
    "inference.window_plan": ("Plan", "Window"),
    "restorer": ("Restorer",),
    "analysis.scenes": ("CutDetector", "find_cuts", "is_cut"),
    "hardware.threads": ("compute_alone",),
    "hardware.streams": ("Lane",),
    "models.store": (
        *("WeightsInfo", "find_weights", "inspect_weights", "load_network", "load_weights", "models_dir"),
        "record_weights",
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
