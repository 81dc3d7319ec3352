"""The VRT network (paper: figure 2 and section 3), one file per idea."""

from . import ops
from .compile import compile_parts
from .config import VRTConfig
from .flow import FlowPyramid, Flows, backwarp
from .padding import mirror_pad, padded_size
from .spynet import SpyNet
from .vrt import VRT, build_network

__all__ = [
    "VRT",
    "FlowPyramid",
    "Flows",
    "SpyNet",
    "VRTConfig",
    "backwarp",
    "build_network",
    "compile_parts",
    "mirror_pad",
    "ops",
    "padded_size",
]
