"""From a model's name, or a file, to a restorer that is ready to work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast

import torch

from .errors import InputError
from .hardware.devices import pick_device, pick_dtype
from .inference.chain import Chain
from .inference.runner import Interpolation, Link, Restoration
from .inference.tile_executor import Engine
from .inference.validation import check_count
from .inference.window_plan import check_window
from .models.cards import ModelCard, find_model
from .models.checkpoint import card_for_file
from .models.store import load_network
from .network import VRT
from .options import FACTORS
from .restorer import Restorer

_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
Precision = Literal["auto", "fp32", "fp16", "bf16"]
TilePx = Literal["auto"] | int | tuple[int, int]


def load_restorer(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    window_frames: int | None = None,
    overlap_frames: int | None = None,
    tile_px: TilePx = "auto",
    tile_overlap_px: int | None = None,
    factor: int = 2,
    folder: str | Path | None = None,
    memory_bytes: int | None = None,
    compile: bool = False,
    is_oom: Callable[[BaseException], bool] | None = None,
) -> Restorer:
    """Load a model and make it ready to restore.

    Args:
        name_or_path: Name of a model, or the beginning of one; path of a weights file; several of these joined by "+",
            which work one after another (enlarge, then interpolate).
        device: "auto" (an accelerator if there is one), "cpu", "cuda", "cuda:1", "xpu", "mps".
        precision: "fp32" is the reference; "fp16" and "bf16" are faster on accelerators; "auto" tries fp16 on an
            accelerator and takes it where it is faster. In fp32, torch's own switch decides about TF32:
            ``torch.set_float32_matmul_precision("high")`` allows it.
        window_frames: Frames that the network sees together; the model's own number if None.
        overlap_frames: Frames that two windows share and are cross-faded over, at most half a window; likewise.
        tile_px: Size of the tiles that frames are cut into, on the grid that each network reads: one number,
            (height, width), 0 for whole frames, or "auto" for the largest that the memory allows. Tiles change the
            result a little, so give a number where it must be the same on every machine.
        tile_overlap_px: Pixels that two tiles share and are cross-faded over, at most half a tile; if None, a quarter
            of the tile and at most 32.
        factor: Frames that come out for each that goes in, for models that interpolate: 2, or 4 and 8 by repetition.
        folder: Where to look for weights first.
        memory_bytes: What a network pass may take, for "auto" tiles; a share of the free memory if None.
        compile: Whether to compile the network's parts with ``torch.compile``, for whole windows: the first of a tile
            size takes minutes, or seconds where torch's cache has it from before. For accelerators; on a CPU a pass
            takes a quarter longer.
        is_oom: Tells whether an exception means that the device is out of memory; torch's own are known.

    Raises:
        InputError: If an argument is wrong.
        WeightsError: If weights are missing or damaged; says how to get them.
    """
    picked = pick_device(device)
    dtype = pick_dtype(precision, picked)
    check_factor(factor)
    found, whole = _find(name_or_path)
    return make_restorer(
        [(cast(VRT, load_network(card, path, folder=folder)), card) for card, path in found],
        whole,
        device=picked,
        dtype=dtype,
        window_frames=window_frames,
        overlap_frames=overlap_frames,
        tile_px=tile_px,
        tile_overlap_px=tile_overlap_px,
        factor=factor,
        memory_bytes=memory_bytes,
        compile=compile,
        is_oom=is_oom,
    )


def make_restorer(
    networks: Sequence[tuple[VRT, ModelCard]],
    card: ModelCard | None = None,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    window_frames: int | None = None,
    overlap_frames: int | None = None,
    tile_px: TilePx = "auto",
    tile_overlap_px: int | None = None,
    factor: int = 2,
    memory_bytes: int | None = None,
    compile: bool = False,
    is_oom: Callable[[BaseException], bool] | None = None,
) -> Restorer:
    """Make a restorer of networks that are there already; they are moved and cast in place where they are not so yet.

    A restorer is light: a host may make one for each clip, of networks that it keeps. They come with their cards, in
    the order in which they work; ``card`` is that of the whole, if it has a name of its own. Options are those of
    ``load_restorer``, with device and dtype as torch has them.

    Raises:
        InputError: If an option is wrong, or card and network do not fit each other.
    """
    check_factor(factor)
    cards = [link_card for _, link_card in networks]
    name = card.name if card else "+".join(link_card.name for link_card in cards)
    if factor != 2 and all(link_card.task != "interpolate" for link_card in cards):
        raise InputError(f"factor ({factor}) was given, but model {name} does not interpolate; leave it out")
    if all(link_card.task == "interpolate" for link_card in cards) and not (
        window_frames is None and overlap_frames is None
    ):
        raise InputError(f"window_frames and overlap_frames do not apply to model {name}, which always sees 4 frames")
    links: list[Link] = []
    for network, link_card in networks:
        link = make_link(
            network,
            link_card,
            device=device,
            dtype=dtype,
            window_frames=window_frames,
            overlap_frames=overlap_frames,
            tile_px=tile_px,
            tile_overlap_px=tile_overlap_px,
            memory_bytes=memory_bytes,
            compile=compile,
            is_oom=is_oom,
        )
        links += [link] * (FACTORS.index(factor) + 1 if link.frame_factor == 2 else 1)
    return make_chain(links, card)


def check_factor(factor: object) -> None:
    """Raise InputError unless interpolation can make so many frames of one."""
    if factor not in FACTORS:
        raise InputError(f"factor ({factor!r}) must be 2, 4 or 8 output frames for each input frame")


def make_link(
    network: VRT,
    card: ModelCard,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    window_frames: int | None = None,
    overlap_frames: int | None = None,
    tile_px: TilePx = "auto",
    tile_overlap_px: int | None = None,
    memory_bytes: int | None = None,
    compile: bool = False,
    is_oom: Callable[[BaseException], bool] | None = None,
) -> Link:
    """Make a restorer of a network that is there already; it is moved and cast in place.

    Options are those of ``load_restorer``, with device and dtype as torch has them.

    Raises:
        InputError: If an option is wrong, or card and network do not fit each other.
    """
    if memory_bytes is not None:
        check_count("memory_bytes", memory_bytes, 1)
    interpolates = not network.uses_flows
    if interpolates != (card.task == "interpolate"):
        does = "interpolates" if interpolates else "does not interpolate"
        raise InputError(f"model {card.name} is for the task {card.task!r}, but its network {does}")
    window = card.window_frames if window_frames is None else check_count("window_frames", window_frames, 1, "frame")
    overlap = min(card.overlap_frames, window // 2) if overlap_frames is None else overlap_frames
    if not interpolates:
        check_window(window, check_count("overlap_frames", overlap, 0, "frames"))
    engine = Engine(
        network,
        card.name,
        device=device or torch.device("cpu"),
        dtype=dtype,
        window_frames=4 if interpolates else window,
        tile_px=tile_px,
        tile_overlap_px=tile_overlap_px,
        memory_bytes=memory_bytes,
        is_oom=is_oom,
        compile=compile,
    )
    if interpolates:
        return Interpolation(network, card, engine)
    return Restoration(network, card, engine, window_frames=window, overlap_frames=overlap)


def make_chain(links: list[Link], card: ModelCard | None = None) -> Restorer:
    """Join restorers in the order in which they work; one alone stays as it is."""
    restorer: Restorer = links[0]
    for i, link in enumerate(links[1:], start=2):
        restorer = Chain(restorer, link, card if i == len(links) else None)
    return restorer


def _find(name_or_path: str | Path) -> tuple[list[tuple[ModelCard, Path | None]], ModelCard | None]:
    """Return card and file (None: look for it) of each network, and the chain's own card if it has one."""
    if isinstance(name_or_path, Path) or Path(name_or_path).is_file():
        return [_find_file(Path(name_or_path))], None
    found, whole = [], None
    for part in name_or_path.split("+"):
        if part.strip().endswith(_SUFFIXES):
            found.append(_find_file(Path(part.strip())))
            continue
        card = find_model(part.strip())
        found += [(find_model(link), None) for link in card.links] or [(card, None)]
        whole = card if card.links and "+" not in name_or_path else None
    return found, whole


def _find_file(path: Path) -> tuple[ModelCard, Path]:
    return card_for_file(path), path
