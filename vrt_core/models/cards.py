"""Model cards: the task of each model, the config of its network, and the origin of its weights.

The cards are stored in ``manifest.json``, which is read on first use: from ``weights/`` in a clone, from
``vrt_core/_weights/`` in an installed wheel. The weights of the shipped models are in the same folder.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError, WeightsError, short_repr

_MAX_TEXT = 1000
_LIMITS = {"scale": 16, "window_frames": 128}
"""Maximum numbers of a card in a file. They bound the memory that a stranger's card asks for."""

TASKS = ("sr", "deblur", "denoise", "interpolate", "space-time-sr", "flow")
"""Tasks of models; "space-time-sr" is a chain of two models, "flow" a component that training uses."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Description of one model, or of a named chain of models. The fields are those of the manifest.

    Raises:
        InputError: If a field is out of its range.
    """

    name: str
    """The name that users give; also the stem of the converted file."""

    task: str
    """One of ``TASKS``."""

    scale: int = 1
    """Output height over input height."""

    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of ``build_network``; empty for a chain."""

    window_frames: int = 1
    """Default number of frames that the network processes together."""

    overlap_frames: int = 0
    """Default number of frames that two neighbouring windows have in common."""

    file: str = ""
    """Name of the weights file as released or shipped; empty for a chain."""

    url: str | None = None
    """Address of the released file; None if there is none to download."""

    bytes: int | None = None
    """Size of ``file``, if published."""

    sha256: str | None = None
    """Lower-case hexadecimal digest of ``file``, if published."""

    parameters: int | None = None
    """Number of parameters; the converted file has four bytes for each (float32)."""

    licence: str = "unknown"
    """Licence of the weights, as an SPDX identifier where there is one."""

    source: str = ""
    """Authors of the weights, and the training data."""

    description: str = ""
    """One line, for lists of models."""

    shipped: bool = False
    """Whether the file comes with the project."""

    links: tuple[str, ...] = ()
    """Names of the models that a chain runs, in order; empty for a single model."""

    part: str = ""
    """Of a component: prefix of its parameters in the whole network; the names in the file do not have it."""

    def __post_init__(self) -> None:
        if not self.name or self.name != Path(self.name).name:
            raise InputError(f"name ({self.name!r}) must be a plain file name, without folders")
        if self.file != Path(self.file).name:
            raise InputError(f"file ({self.file!r}) of model {self.name} must be a plain file name, without folders")
        if self.task not in TASKS:
            raise InputError(f"task ({self.task!r}) of model {self.name} must be one of {', '.join(TASKS)}")
        if self.scale < 1:
            raise InputError(f"scale ({self.scale}) of model {self.name} must be at least 1")
        if not 0 <= self.overlap_frames < self.window_frames:
            raise InputError(
                f"overlap_frames ({self.overlap_frames}) of model {self.name} must be at least 0 and below "
                f"window_frames ({self.window_frames})"
            )
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise InputError(f"sha256 ({self.sha256!r}) of model {self.name} must be 64 lower-case hexadecimal digits")

    @property
    def converted_file(self) -> str:
        """Name of the file that ``download`` writes: safetensors, without index buffers."""
        return self.file if self.file.endswith(".safetensors") else f"{self.name}.safetensors"


def card_from_dict(facts: Mapping[str, Any], where: str) -> ModelCard:
    """Make a card from JSON values, which may come from an untrusted file.

    Args:
        facts: Field names and values.
        where: The file that the values come from, for the error message.

    Raises:
        WeightsError: If a field is unknown, missing, of the wrong type, or out of range.
    """
    types: dict[str, tuple[type, ...]] = {"config": (dict,), "links": (list, tuple)}
    for name in ("scale", "window_frames", "overlap_frames"):
        types[name] = (int,)
    for name in ("bytes", "parameters"):
        types[name] = (int, type(None))
    for name in ("url", "sha256"):
        types[name] = (str, type(None))
    types["shipped"] = (bool,)
    known = {f.name for f in fields(ModelCard)}
    for name, value in facts.items():
        if name not in known:
            raise WeightsError(
                f"{where}: unknown field {short_repr(name)} in a model card; known: {', '.join(sorted(known))}"
            )
        allowed = types.get(name, (str,))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            expected = " or ".join("null" if t is type(None) else t.__name__ for t in allowed)
            raise WeightsError(f"{where}: field {name!r} of a model card is {short_repr(value)}, expected {expected}")
        if name in _LIMITS and value > _LIMITS[name]:
            raise WeightsError(
                f"{where}: field {name!r} of a model card is {short_repr(value)}, expected at most {_LIMITS[name]}"
            )
        if isinstance(value, str) and not (len(value) <= _MAX_TEXT and value.isprintable()):
            raise WeightsError(
                f"{where}: field {name!r} of a model card is {short_repr(value)}, expected at most {_MAX_TEXT} "
                "printable characters"
            )
    try:
        return ModelCard(**{**facts, "links": tuple(facts.get("links", ()))})
    except (InputError, TypeError) as error:
        raise WeightsError(f"{where}: {error}") from error


def shipped_dir() -> Path:
    """Folder of the manifest and of the shipped models."""
    package = Path(__file__).resolve().parents[1]
    return package / "_weights" if (package / "_weights").is_dir() else package.parent / "weights"


def manifest_path() -> Path:
    """Path of ``manifest.json`` in :func:`shipped_dir`."""
    return shipped_dir() / "manifest.json"


@cache
def read_manifest(path: Path) -> dict[str, dict[str, ModelCard]]:
    """Cards of each section of the manifest by name, in the order of the file.

    Raises:
        WeightsError: If the file cannot be read, or contains an invalid card.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read the list of models {path}: {error}; reinstall the project") from error
    cards = {
        section: {facts["name"]: card_from_dict(facts, str(path)) for facts in manifest[section]}
        for section in ("models", "components")
    }
    for card in cards["models"].values():
        for link in card.links:
            if link not in cards["models"]:
                raise WeightsError(f"{path}: model {card.name} links to {link!r}, which the file does not list")
    return cards


class _Section(Mapping[str, ModelCard]):
    """One section of the manifest, as a mapping that reads the file on first access."""

    def __init__(self, section: str) -> None:
        self._section = section

    def _cards(self) -> dict[str, ModelCard]:
        return read_manifest(manifest_path())[self._section]

    def __getitem__(self, name: str) -> ModelCard:
        return self._cards()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards())

    def __len__(self) -> int:
        return len(self._cards())

    def __repr__(self) -> str:
        return f"<{len(self)} {self._section} of {manifest_path()}>"


MODELS: Mapping[str, ModelCard] = _Section("models")
"""All models of ``load_restorer`` by name: shipped models, official models, and named chains."""

COMPONENTS: Mapping[str, ModelCard] = _Section("components")
"""Weights of parts of the network, for training. They are downloaded like models, but cannot restore alone."""


def find_model(name: str, *, components: bool = False) -> ModelCard:
    """Find a card by its name or by a prefix of the name that only one model has ("001").

    Args:
        name: Name or prefix; case does not matter.
        components: Whether to search the components as well.

    Raises:
        InputError: If no name or several names match; the message lists the nearest ones.
    """
    cards = {**MODELS, **COMPONENTS} if components else dict(MODELS)
    if name in cards:
        return cards[name]
    query = name.strip().lower()
    matches = [key for key in cards if query and key.lower().startswith(query)]
    exact = [key for key in matches if key.lower() == query]
    if len(exact or matches) == 1:
        return cards[(exact or matches)[0]]
    if matches:
        raise InputError(f"model ({name!r}) is not one name but the beginning of {len(matches)}: {', '.join(matches)}")
    by_lower_name = {key.lower(): key for key in cards}
    similar = [by_lower_name[key] for key in difflib.get_close_matches(query, by_lower_name, n=3, cutoff=0.4)]
    nearest = [key for key in cards if query and query in key.lower()] or similar
    suggestion = f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(cards)}"
    raise InputError(f"model ({name!r}) is unknown; {suggestion}; `vrt models` says what each does")


def card_to_json(card: ModelCard) -> str:
    """The fields of a card that differ from their defaults, on one line; ``card_from_dict`` reads them back."""
    default = ModelCard(name=card.name, task=card.task)
    facts = {k: v for k, v in asdict(card).items() if k in ("name", "task") or v != getattr(default, k)}
    return json.dumps(facts, sort_keys=True)


def chain_card(cards: Sequence[ModelCard], scale: int) -> ModelCard:
    """Return a card for models that run one after the other; the model's own for one."""
    if len(cards) == 1:
        return cards[0]
    licences = dict.fromkeys(card.licence for card in cards)
    return replace(
        cards[0],
        name="+".join(card.name for card in cards),
        scale=scale,
        licence=" AND ".join(licences),
        description="; then: ".join(card.description for card in cards),
    )
