"""VRT, the Video Restoration Transformer, as an engine: frames in, restored frames out, in bounded memory.

Start with ``load_restorer``. It returns a ``Restorer`` with three entry points: ``restore`` (a clip), ``stream`` (an
iterator of frames) and ``restore_window`` (random access). ``vrt_core.models`` has cards and weight files,
``vrt_core.hardware`` devices and threads. Names are imported on first use: importing the package does not load torch.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.noise import estimate_sigma
    from .analysis.scenes import CutDetector, find_cuts
    from .errors import Cancelled, InputError, NumericsError, VRTError, WeightsError
    from .export import export_onnx
    from .inference.blending import WeightedFrame, blend
    from .inference.cache import Cache
    from .inference.memory import estimate_memory, estimate_models_memory
    from .inference.window_plan import Plan, Window
    from .loading import load_restorer, make_restorer
    from .models.cards import MODELS, ModelCard, find_model
    from .models.download import download
    from .network import VRT, VRTConfig, build_network
    from .options import MAX_SIGMA_255, OPTIONS, Option, RestoreOptions
    from .restorer import Restorer

__version__ = "0.1.0"


def _module_of_names() -> dict[str, str]:
    """Return the module of each public name, from the imports above: they are the only list of them."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f".{node.module}" for node in imports for alias in node.names}


_MODULE_OF = _module_of_names()
__all__ = sorted(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
