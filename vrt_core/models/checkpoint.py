"""Weight files: reading them as data, never as code; telling which model they fit; writing them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..errors import InputError, WeightsError
from .cards import COMPONENTS, MODELS, ModelCard, card_from_dict, card_to_json
from .digests import write_then_rename

_INDEX_BUFFER = re.compile(r"(.*\.)?(relative_position_index|position_bias)|(spynet\.)?(mean|std)")
_METADATA_KEY = "vrt"  # the only one, since safetensors writes several in no fixed order
_NAMED_KEYS = 3

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """A weight file, read."""

    tensors: Mapping[str, Tensor]
    """As stored, on the CPU; index buffers left out."""

    kind: str
    """Either "safetensors" or "torch"."""

    about: Mapping[str, Any]
    """What :func:`save_weights` wrote beside the tensors: ``card``, ``model``, ``source_sha256``; or empty."""


def file_kind(path: Path) -> str:
    """Whether a file is "safetensors" or "torch", told from the first bytes; nothing is parsed.

    Raises:
        WeightsError: If it is neither; says what it is instead, if that is plain.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}") from error
    if size == 0:
        raise WeightsError(f"{path} is empty (0 bytes), not a weights file; download it again")
    header_bytes = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= header_bytes <= 100_000_000:
        if 8 + header_bytes > size:
            raise WeightsError(f"{path} is cut off ({size} bytes, inside the header of safetensors); download it again")
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):  # a zip, or a bare pickle
        return "torch"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        raise WeightsError(f"{path} is a web page, not a weights file; look at the address it came from")
    if text.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the weights themselves; run `git lfs pull`")
    raise WeightsError(f"{path} is neither safetensors nor a PyTorch checkpoint ({size} bytes); download it again")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weight file of either kind, without its index buffers.

    A PyTorch checkpoint is the state dict itself, or holds it under ``params`` or ``params_ema``, in this order.
    It is read with ``weights_only=True``: tensors and plain containers, no code.

    Raises:
        WeightsError: If the file is damaged, cut off, not a weights file, or asks to run code.
    """
    kind = file_kind(path)
    about: Mapping[str, Any] = {}
    if kind == "safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                about = _parse_about((file.metadata() or {}).get(_METADATA_KEY))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
            raise WeightsError(f"{path} is damaged or cut off: {_first_line(error)}; download it again") from error
    else:
        state = _state_dict(_unpickle_tensors(path), path)
    return Checkpoint({k: v for k, v in state.items() if not _INDEX_BUFFER.fullmatch(k)}, kind, about)


def _parse_about(text: str | None) -> Mapping[str, Any]:
    about = json.loads(text) if text else {}
    return about if isinstance(about, dict) else {}


def _unpickle_tensors(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise errors of any type
        forbidden = re.search(r"(?:GLOBAL|class) `?(\w+(?:\.\w+)+)", str(error))
        if forbidden and "Weights only load failed" in str(error):
            raise WeightsError(
                f"{path} holds more than tensors ({forbidden[1]}), which could run code: refused; "
                "save the bare state dict, best as safetensors"
            ) from error
        raise WeightsError(f"{path} is damaged or cut off: {_first_line(error)}; download it again") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for key in ("params", "params_ema"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
        if content and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
            return dict(content)
        found = f"keys {_some(str(key) for key in content)}"
    else:
        found = f"a {type(content).__name__}"
    raise WeightsError(f"{path} holds {found} instead of named tensors, bare or under 'params' or 'params_ema'")


def _first_line(error: BaseException) -> str:
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more."""
    listed = list(names)
    more = len(listed) - _NAMED_KEYS
    return ", ".join(listed[:_NAMED_KEYS]) + (f", and {more} more" if more > 0 else "")


def expected_shapes(card: ModelCard) -> Shapes:
    """Names and shapes of the parameters that a card's file must hold.

    Raises:
        InputError: If the card's config makes no network.
    """
    return _network_shapes(json.dumps(dict(card.config), sort_keys=True), card.part)


@lru_cache(maxsize=32)
def _network_shapes(config: str, part: str) -> Shapes:
    from ..network import build_network

    with torch.device("meta"):  # shapes without memory
        network = build_network(**json.loads(config))
    return {
        name.removeprefix(part): tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if name.startswith(part) and not _INDEX_BUFFER.fullmatch(name)
    }


def identify(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Names of all models and components that a state dict fits, by parameter names and shapes.

    Some models are alike in shape (003 and 004; 005, 006 and 007): then all are returned, and only the name of
    the file can tell.

    Args:
        state_dict: Index buffers may be there or not.
    """
    shapes = {k: tuple(v.shape) for k, v in state_dict.items() if not _INDEX_BUFFER.fullmatch(k)}
    cards = [card for card in (*MODELS.values(), *COMPONENTS.values()) if not card.links]
    return [card.name for card in cards if expected_shapes(card) == shapes]


def check_fit(checkpoint: Checkpoint, card: ModelCard, path: Path) -> None:
    """Check that a file holds exactly the parameters of a model, all finite.

    Raises:
        WeightsError: If not; says which model the file does fit, or else what differs.
    """
    tensors = checkpoint.tensors
    wanted = expected_shapes(card)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != wanted:
        if names := identify(tensors):
            alike = " (alike in shape: the name decides)" if len(names) > 1 else ""
            raise WeightsError(f"{path} is not for {card.name}: it fits {' or '.join(names)}{alike}")
        raise WeightsError(f"{path} does not fit {card.name}, nor any model known: {_differences(shapes, wanted)}")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise WeightsError(f"{path}: {name} is stored as {_dtype_name(tensor.dtype)}, expected floating point")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name} holds NaN or infinity; the file is damaged or its training failed")


def _differences(shapes: Shapes, wanted: Shapes) -> str:
    missing = [name for name in wanted if name not in shapes]
    unexpected = [name for name in shapes if name not in wanted]
    other = [
        f"{name} {shapes[name]} instead of {shape}"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    return "; ".join(f"{len(names)} {how}: {_some(names)}" for how, names in found if names)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def to_float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32, each contiguous and owner of its memory (what is so already is not copied)."""
    own = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().to(torch.float32).contiguous()
        shared = tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
        own[name] = tensor.clone() if shared else tensor
    return own


def save_weights(
    path: Path,
    state_dict: Mapping[str, Tensor],
    *,
    card: ModelCard | None = None,
    about: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a state dict as safetensors, index buffers left out; equal input gives equal bytes.

    Args:
        path: Written under a temporary name, then renamed.
        state_dict: Of a whole network.
        card: Stored in the file, so that it can be used by its path alone. Needed for networks of one's own.
        about: Other facts to store, as JSON.
        dtype: Of the stored numbers; loading makes them float32 again.

    Raises:
        OSError: If the file cannot be written.
    """
    facts: dict[str, Any] = dict(about or {})
    if card is not None:
        facts["card"] = json.loads(card_to_json(card))
    tensors = {
        name: tensor.to("cpu", dtype)
        for name, tensor in to_float32(state_dict).items()
        if not _INDEX_BUFFER.fullmatch(name)
    }
    metadata = {_METADATA_KEY: json.dumps(facts, sort_keys=True)} if facts else None
    write_then_rename(path, safetensors.torch.save(tensors, metadata))


def card_for_file(path: Path) -> ModelCard:
    """The card of a weight file given by its path.

    It is the one stored in the file, else that of the model whose shapes fit; among models alike in shape, the
    one that the file is named after, else the first of them, renamed after the file: they differ in their
    training only, never in how they run.

    Raises:
        WeightsError: If the file is damaged or fits no model.
    """
    return card_of(read_checkpoint(path), path)


def card_of(checkpoint: Checkpoint, path: Path) -> ModelCard:
    """As :func:`card_for_file`, of a file already read."""
    if isinstance(facts := checkpoint.about.get("card"), dict):
        card = card_from_dict(facts, str(path))
        card = replace(card, file=path.name, url=None, bytes=None, sha256=None, shipped=False)
        try:
            check_fit(checkpoint, card, path)
        except (InputError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            told = _first_line(error)
            raise WeightsError(f"{path}: the config stored in the file makes no network: {told}") from error
        return card
    names = identify(checkpoint.tensors)
    if not names:
        raise WeightsError(
            f"{path} fits no model known ({len(checkpoint.tensors)} tensors: {_some(checkpoint.tensors)}), "
            "and holds no card of its own"
        )
    cards = {**MODELS, **COMPONENTS}
    for name in (checkpoint.about.get("model"), path.stem):
        if name in names:
            return cards[str(name)]
    card = cards[names[0]]
    return card if len(names) == 1 else replace(card, name=path.stem, file=path.name, url=None, bytes=None, sha256=None)
