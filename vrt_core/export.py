"""A network of one tile shape as a file that runs by itself: exported and compiled ahead of time (AOTInductor).

The package holds the weights and machine code for one kind of device; ``load_tile`` needs torch and this file, neither
the network's code nor a compiler. It maps what ``VRT.forward`` maps, for one clip of the shape that it was made for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .checks import check_count
from .errors import InputError
from .network import VRT
from .network.vrt import Flows

Tile = Callable[[Tensor, "Flows | None"], Tensor]
"""Maps a clip (1, T, C, H, W) and its flows to (1, T', 3, sH, sW), all of the shapes that were exported."""


def export_tile(network: VRT, path: str | Path, *, frames: int, height: int, width: int) -> Path:
    """Export a network for clips of one shape, with flows given as the engine gives them, and compile it to a package.

    Takes minutes, and a C++ compiler. The device and the precision are those of the network.

    Args:
        network: In eval mode, on the device that the package is for.
        path: Of the package; should end in ``.pt2``.
        frames: T of the clip, at least 2; what an interpolation network takes at a time.
        height: H, LQ pixels, as the network needs it: ``size_multiple_px``, ``min_size_px``.
        width: W, likewise.

    Returns:
        ``path``.

    Raises:
        InputError: If the network would have to pad such clips.
    """
    program = export_program(network, frames=frames, height=height, width=width)
    path = Path(path)
    from torch._inductor import aoti_compile_and_package  # slow to import

    aoti_compile_and_package(program, package_path=str(path))
    return path


def export_program(network: VRT, *, frames: int, height: int, width: int) -> torch.export.ExportedProgram:
    """Export a network for clips of one shape, for another compiler; arguments as in ``export_tile``."""
    exact = network.num_input_frames
    if exact is None:
        check_count("frames", frames, 2)
    elif frames != exact:
        raise InputError(f"frames ({frames}) must be {exact}, which is what the network takes at a time")
    for name, side in (("height", height), ("width", width)):
        check_count(name, side, network.min_size_px, "px")
        if side % network.size_multiple_px:
            raise InputError(f"{name} ({side} px) must be a multiple of {network.size_multiple_px} px")
    device = network.conv_first.weight.device
    clip = torch.zeros(1, frames, 3 + network.config.nonblind_denoising, height, width, device=device)
    flows: Flows | None = None
    if network.uses_flows:
        level = [torch.zeros(1, frames - 1, 2, height >> i, width >> i, device=device) for i in range(4)]
        flows = tuple(level), tuple(torch.zeros_like(x) for x in level)
    with torch.no_grad():
        return torch.export.export(network, (clip, flows), strict=False)


def load_tile(path: str | Path) -> Tile:
    """Load what ``export_tile`` has written.

    Raises:
        InputError: If there is no such file.
    """
    if not Path(path).is_file():
        raise InputError(f"path ({str(path)!r}) is no file; export_tile writes one")
    from torch._inductor import aoti_load_package

    return aoti_load_package(str(path))
