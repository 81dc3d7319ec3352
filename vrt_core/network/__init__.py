"""The VRT network, one file per idea of the paper."""

from .compile import compile_parts
from .config import VRTConfig
from .flow import Pyramid, SpyNet
from .vrt import VRT, Flows, build_network

__all__ = ["VRT", "Flows", "Pyramid", "SpyNet", "VRTConfig", "build_network", "compile_parts"]
