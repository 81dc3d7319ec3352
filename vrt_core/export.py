"""ONNX export of a network for clips of one shape.

The file has the weights and operations of ``VRT.forward``, optical flow included. The caller cuts a video into windows
and tiles, and cross-fades them.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .errors import InputError, VRTError
from .network import VRT
from .options import check_count


def export_onnx(network: VRT, path: str | Path, *, frames: int, height: int, width: int) -> Path:
    """Write a network for clips of one shape as ONNX; takes minutes. Needs the packages onnx and onnxscript.

    The file takes ``clip``, (1, T, C, H, W) float32, and gives ``restored``, (1, T', 3, sH, sW) float32, as the network
    does; its weights are in the precision of the network.

    Args:
        network: In eval mode.
        path: Of the file; should end in ``.onnx``.
        frames: T, at least 2; what an interpolation network takes at a time.
        height: H, LQ pixels, a multiple of ``size_multiple_px`` and at least ``min_size_px``.
        width: W, likewise.

    Returns:
        ``path``.

    Raises:
        InputError: If the network would have to pad such clips.
        VRTError: If onnx or onnxscript are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VRTError(f'export needs {error.name}: pip install "vrt-restore[export]"') from error
    program = export_program(network, frames=frames, height=height, width=width)
    with sdpa_kernel(SDPBackend.MATH):
        onnx_program = torch.onnx.export(
            program, input_names=["clip"], output_names=["restored"], dynamo=True, optimize=True, verbose=False
        )
    assert onnx_program is not None
    path = Path(path)
    onnx_program.save(path)
    return path


def export_program(network: VRT, *, frames: int, height: int, width: int) -> torch.export.ExportedProgram:
    """Export a network for clips of one shape, for a compiler of your own; arguments as in ``export_onnx``."""
    exact = network.num_input_frames
    if exact is None:
        check_count("frames", frames, 2)
    elif frames != exact:
        raise InputError(f"frames ({frames}) must be {exact}, which is what the network takes at a time")
    for name, side in (("height", height), ("width", width)):
        check_count(name, side, network.min_size_px, "px")
        if side % network.size_multiple_px:
            raise InputError(f"{name} ({side} px) must be a multiple of {network.size_multiple_px} px")
    channels = network.config.in_chans + network.config.nonblind_denoising
    clip = torch.zeros(
        1, frames, channels, height, width, device=next(chain(network.parameters(), network.buffers())).device
    )
    # fused attention leaves its result in an order of memory that no other runtime knows of
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        return torch.export.export(network, (clip,), strict=False)
