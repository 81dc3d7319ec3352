"""Reads and writes weight files (safetensors and PyTorch checkpoints) and matches their shapes with the models.

A checkpoint is read as data: pickled code is never executed. torch is imported inside the functions that need it, so
that commands without a network, such as ``vrt models`` and ``vrt --help``, start without loading it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors

from ..errors import InputError, WeightsError
from .cards import COMPONENTS, MODELS, ModelCard, card_from_dict, card_to_json
from .files import parse_json, write_atomically
from .pickled import StoredTensor, read_tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
"""Dtypes of parameters in files, by their names in torch; loading converts them to float32."""

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""Suffixes of weight files, lower case."""

_INDEX_BUFFER = re.compile(r"(.*\.)?(relative_position_index|position_bias)|(spynet\.)?(mean|std)")
_METADATA_KEY = "vrt"  # a single key, because safetensors writes several in no fixed order
_MAX_LISTED_NAMES = 3

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weight file."""

    tensors: Mapping[str, Tensor]
    """Parameters by name, with the dtype of the file, on the CPU; without index buffers."""

    kind: str
    """Either "safetensors" or "torch"."""

    metadata: Mapping[str, Any]
    """What :func:`save_weights` stored beside the tensors: ``card``, ``model``, ``source_sha256``; or empty."""


def file_kind(path: Path) -> str:
    """Return "safetensors" or "torch" from the first bytes of a file, without parsing it.

    Raises:
        WeightsError: If it is neither; the message names web pages and Git LFS pointers.
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

    A PyTorch checkpoint is the state dict itself, or contains it under ``params`` or ``params_ema``; ``params`` takes
    precedence. Only tensors and plain containers are read.

    Raises:
        WeightsError: If the file is damaged, truncated, not a weights file, or contains code.
    """
    kind = file_kind(path)
    metadata: Mapping[str, Any] = {}
    if kind == "safetensors":
        if not _is_utf8(path):
            raise WeightsError(f"{path}: its name is not UTF-8, which the library safetensors cannot open; rename it")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = _parse_metadata((file.metadata() or {}).get(_METADATA_KEY))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
            raise WeightsError(f"{path} is damaged or cut off: {_first_line(error)}; download it again") from error
    else:
        state = read_tensors(path, lambda content: _state_dict(content, path))
    return Checkpoint({k: v for k, v in state.items() if not _INDEX_BUFFER.fullmatch(k)}, kind, metadata)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_metadata(text: str | None) -> Mapping[str, Any]:
    metadata = parse_json(text) if text else {}
    return metadata if isinstance(metadata, dict) else {}


def _state_dict(content: Any, path: Path) -> dict[str, StoredTensor]:
    """Return the named tensors of a PyTorch checkpoint.

    Raises:
        WeightsError: If there are none.
    """
    if isinstance(content, Mapping):
        for key in ("params", "params_ema"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
        if content and all(isinstance(k, str) and isinstance(v, StoredTensor) for k, v in content.items()):
            return {name: tensor for name, tensor in content.items() if not _INDEX_BUFFER.fullmatch(name)}
        content_name = f"keys {_some(str(key) for key in content)}"
    else:
        content_name = "a tensor" if isinstance(content, StoredTensor) else f"a {type(content).__name__}"
    raise WeightsError(f"{path} holds {content_name} instead of named tensors, bare or under 'params' or 'params_ema'")


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def _some(names: Iterable[str]) -> str:
    """The first three names and the number of the others, for error messages."""
    all_names = [name if name.isprintable() else ascii(name) for name in names]
    num_others = len(all_names) - _MAX_LISTED_NAMES
    listed = ", ".join(name[:80] for name in all_names[:_MAX_LISTED_NAMES])
    return f"{listed}, and {num_others} more" if num_others > 0 else listed


def expected_shapes(card: ModelCard) -> Shapes:
    """Names and shapes of the parameters that a card's file must contain.

    Raises:
        InputError: If no network can be built from the card's config.
    """
    return _network_shapes(json.dumps(dict(card.config), sort_keys=True), card.part)


@lru_cache(maxsize=32)
def _network_shapes(config: str, part: str) -> Shapes:
    import torch

    from ..network import build_network

    with torch.device("meta"):  # shapes without memory
        network = build_network(**json.loads(config))
    return {
        name.removeprefix(part): tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if name.startswith(part) and not _INDEX_BUFFER.fullmatch(name)
    }


def matching_models(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Names of all models and components that have the parameter names and shapes of a state dict.

    Some models have equal shapes (003 and 004; 005, 006 and 007). Then all of them are returned, and only the name of
    the file can tell which one it is.

    Args:
        state_dict: With or without index buffers.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items() if not _INDEX_BUFFER.fullmatch(name)}
    if not shapes:
        return []  # an empty file says nothing; models without parameters store their card
    cards = [card for card in (*MODELS.values(), *COMPONENTS.values()) if not card.links]
    return [card.name for card in cards if expected_shapes(card) == shapes]


def check_fit(checkpoint: Checkpoint, card: ModelCard, path: Path) -> None:
    """Check that a file contains exactly the parameters of a model, and that all of them are finite.

    Raises:
        WeightsError: If not; the message names the model that the file does fit, or else the differences.
    """
    tensors = checkpoint.tensors
    expected = expected_shapes(card)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != expected:
        if names := matching_models(tensors):
            alike = " (alike in shape: the name decides)" if len(names) > 1 else ""
            raise WeightsError(f"{path} is not for {card.name}: it fits {' or '.join(names)}{alike}")
        raise WeightsError(f"{path} does not fit {card.name}, nor any model known: {_differences(shapes, expected)}")
    for name, tensor in tensors.items():
        if (dtype := _dtype_name(tensor.dtype)) not in FLOAT_DTYPES:
            raise WeightsError(f"{path}: {name} is stored as {dtype}, expected {', '.join(FLOAT_DTYPES)}")
        if not tensor.float().isfinite().all():
            raise WeightsError(
                f"{path}: {name} holds NaN or infinity in float32; the file is damaged or its training failed"
            )


def _differences(shapes: Shapes, expected: Shapes) -> str:
    missing = [name for name in expected if name not in shapes]
    unexpected = [name for name in shapes if name not in expected]
    other = [
        f"{name} {shapes[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    groups = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    return "; ".join(f"{len(names)} {label}: {_some(names)}" for label, names in groups if names)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def to_float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32, contiguous, each with a storage of its own; copied only where they are not so already."""
    result = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().float().contiguous()
        is_view = tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
        result[name] = tensor.clone() if is_view else tensor
    return result


def save_weights(
    path: Path,
    state_dict: Mapping[str, Tensor],
    *,
    card: ModelCard | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a state dict as safetensors, without index buffers; equal input gives equal bytes.

    Args:
        path: Written under a temporary name, then renamed.
        state_dict: Of a whole network.
        card: Stored in the file, so that the file can be loaded by its path alone. Required for networks that are not
            in the list of models.
        metadata: Other facts to store; JSON values.
        dtype: Of the stored numbers, float32 by default; loading converts them to float32.

    Raises:
        OSError: If the file cannot be written.
    """
    import safetensors.torch
    import torch

    facts: dict[str, Any] = dict(metadata or {})
    if card is not None:
        facts["card"] = json.loads(card_to_json(card))
    tensors = {
        name: tensor.to("cpu", dtype or torch.float32)
        for name, tensor in to_float32(state_dict).items()
        if not _INDEX_BUFFER.fullmatch(name)
    }
    header = {_METADATA_KEY: json.dumps(facts, sort_keys=True)} if facts else None
    write_atomically(path, safetensors.torch.save(tensors, header))


def card_for_file(path: Path) -> ModelCard:
    """The card of a weight file that is given by its path.

    A card stored in the file takes precedence. Else it is the card of the model with the shapes of the file. If several
    models have them, the one named like the file is taken, else the first of them under the name of the file: such
    models differ in their training only, not in how they run.

    Raises:
        WeightsError: If the file is damaged or fits no model.
    """
    return card_for_checkpoint(read_checkpoint(path), path)


def card_for_checkpoint(checkpoint: Checkpoint, path: Path) -> ModelCard:
    """The card of a file whose content has been read already; see :func:`card_for_file`."""
    if isinstance(facts := checkpoint.metadata.get("card"), dict):
        return _own_card(facts, checkpoint, path)
    names = matching_models(checkpoint.tensors)
    if not names:
        raise WeightsError(
            f"{path} fits no model known ({len(checkpoint.tensors)} tensors: {_some(checkpoint.tensors)}), "
            "and holds no card of its own"
        )
    cards = {**MODELS, **COMPONENTS}
    for name in (checkpoint.metadata.get("model"), path.stem):
        if name in names:
            return cards[str(name)]
    card = cards[names[0]]
    return card if len(names) == 1 else replace(card, name=path.stem, file=path.name, url=None, bytes=None, sha256=None)


def _own_card(facts: Mapping[str, Any], checkpoint: Checkpoint, path: Path) -> ModelCard:
    """The card stored in a file, if a network can be built from it and the tensors fit that network."""
    from ..network import VRTConfig

    card = card_from_dict(facts, str(path))
    card = replace(card, file=path.name, url=None, bytes=None, sha256=None, shipped=False)
    try:
        VRTConfig.from_mapping(card.config)  # its ranges, before a network of such a size is built
        check_fit(checkpoint, card, path)
    except (InputError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        reason = _first_line(error)
        raise WeightsError(f"{path}: the config stored in the file makes no network: {reason}") from error
    return card
