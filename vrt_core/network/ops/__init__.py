"""Operations of the network, one file each: a fast implementation beside a reference that states the operation.

The classes of the network say what is computed, this package how: in which chunks, in place or not, by which library.
Gradients take the reference, unless the fast path has a backward pass; ``reference()`` forces it everywhere.
"""

from . import chunking
from .attention import attention, merge_heads, pass_backend, split_heads, window_attention, with_pass_backend
from .conv_pair import fused_conv_pair
from .deform_conv import deform_conv
from .inplace import add_, mul_
from .linear import Linear, linear
from .mode import reference, use_reference
from .onednn import onednn_matmul, prefer_onednn
from .position import relative_position_index, sine_position_encoding
from .windows import FeatureMap, WindowBatch, WindowPartition, WindowSize, map_windows, partition_windows

__all__ = [
    "FeatureMap",
    "Linear",
    "WindowBatch",
    "WindowPartition",
    "WindowSize",
    "add_",
    "attention",
    "chunking",
    "deform_conv",
    "fused_conv_pair",
    "linear",
    "map_windows",
    "merge_heads",
    "mul_",
    "onednn_matmul",
    "partition_windows",
    "pass_backend",
    "prefer_onednn",
    "reference",
    "relative_position_index",
    "sine_position_encoding",
    "split_heads",
    "use_reference",
    "window_attention",
    "with_pass_backend",
]
