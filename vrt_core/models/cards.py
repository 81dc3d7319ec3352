"""The model cards: what each model does, how its network is built, and where its weights come from.

The facts live in ``manifest.json``, read on first use: in ``weights/`` of a clone, in ``vrt_core/_weights/`` of an
installed wheel. The small models that ship lie beside it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError, WeightsError

TASKS = ("sr", "deblur", "denoise", "interpolate", "space-time-sr", "flow")
"""What a card can be for; "space-time-sr" is a chain of two models, "flow" a component used in training."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that is known about one model, or about a named chain of models.

    Raises:
        InputError: If a field is out of its range.
    """

    name: str
    """How users ask for it; also the stem of its converted file."""

    task: str
    """One of ``TASKS``."""

    scale: int = 1
    """Output height over input height."""

    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of ``build_network``; empty for a chain."""

    window_frames: int = 1
    """Frames that the network sees together, unless the user says otherwise."""

    overlap_frames: int = 0
    """Frames shared by two neighbouring windows, counted once."""

    file: str = ""
    """Name of the weights file as released or shipped; empty for a chain."""

    url: str | None = None
    """Where the file is released; None if it is not to be fetched."""

    bytes: int | None = None
    """Size of ``file``, if published."""

    sha256: str | None = None
    """Lower-case hexadecimal digest of ``file``, if published."""

    parameters: int | None = None
    """Numbers in the weights; in float32 the converted file takes four bytes for each."""

    licence: str = "unknown"
    """Of the weights, as an SPDX name where there is one."""

    source: str = ""
    """Who made the weights, and what they were trained on."""

    description: str = ""
    """One line for lists."""

    shipped: bool = False
    """Whether the file comes with the project."""

    links: tuple[str, ...] = ()
    """Names of the models that a chain runs, in order; empty for a single model."""

    part: str = ""
    """For a component: prefix of the network's parameters that the file holds, without that prefix."""

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
        """Name of the file that ``download`` leaves: safetensors, without index buffers."""
        return self.file if self.file.endswith(".safetensors") else f"{self.name}.safetensors"


def card_from_dict(facts: Mapping[str, Any], where: str) -> ModelCard:
    """Make a card from JSON values, which may come from a file that nobody vouches for.

    Args:
        facts: Field names and values.
        where: What the values were read from, for the error message.

    Raises:
        WeightsError: If a field is unknown, missing, of the wrong type, or out of range.
    """
    kinds: dict[str, tuple[type, ...]] = {"config": (dict,), "links": (list, tuple)}
    for name in ("scale", "window_frames", "overlap_frames"):
        kinds[name] = (int,)
    for name in ("bytes", "parameters"):
        kinds[name] = (int, type(None))
    for name in ("url", "sha256"):
        kinds[name] = (str, type(None))
    kinds["shipped"] = (bool,)
    known = {f.name for f in fields(ModelCard)}
    for name, value in facts.items():
        if name not in known:
            raise WeightsError(f"{where}: unknown field {name!r} in a model card; known: {', '.join(sorted(known))}")
        kind = kinds.get(name, (str,))
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            wanted = " or ".join("null" if k is type(None) else k.__name__ for k in kind)
            raise WeightsError(f"{where}: field {name!r} of a model card is {value!r}, expected {wanted}")
    try:
        return ModelCard(**{**facts, "links": tuple(facts.get("links", ()))})
    except (InputError, TypeError) as error:
        raise WeightsError(f"{where}: {error}") from error


def shipped_dir() -> Path:
    """Folder of the manifest and of the models that come with the project."""
    package = Path(__file__).resolve().parents[1]
    return package / "_weights" if (package / "_weights").is_dir() else package.parent / "weights"


def manifest_path() -> Path:
    """The manifest: ``manifest.json`` in :func:`shipped_dir`."""
    return shipped_dir() / "manifest.json"


@cache
def read_manifest(path: Path) -> dict[str, dict[str, ModelCard]]:
    """Cards of each section by name; in the order of the file."""
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
    """One section of the manifest, read when first looked at."""

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
"""Every model that ``load_restorer`` takes, by name: shipped, official, and named chains."""

COMPONENTS: Mapping[str, ModelCard] = _Section("components")
"""Weights of parts of the network, for training; fetched like models, but nothing is restored with them alone."""


def find_model(name: str, *, components: bool = False) -> ModelCard:
    """Look a card up by its name or by the beginning of its name, if only one begins so ("001").

    Args:
        name: Upper or lower case.
        components: Whether to look among the components as well.

    Raises:
        InputError: If none or several fit; the message lists the nearest names.
    """
    cards = {**MODELS, **COMPONENTS} if components else dict(MODELS)
    if name in cards:
        return cards[name]
    wanted = name.strip().lower()
    begun = [key for key in cards if wanted and key.lower().startswith(wanted)]
    exact = [key for key in begun if key.lower() == wanted]
    if len(exact or begun) == 1:
        return cards[(exact or begun)[0]]
    if begun:
        raise InputError(f"model ({name!r}) is not one name but the beginning of {len(begun)}: {', '.join(begun)}")
    lower = {key.lower(): key for key in cards}
    near = [lower[key] for key in difflib.get_close_matches(wanted, lower, n=3, cutoff=0.4)]
    near = [key for key in cards if wanted and wanted in key.lower()] or near
    which = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(cards)}"
    raise InputError(f"model ({name!r}) is unknown; {which}; `vrt models` says what each does")


def card_to_json(card: ModelCard) -> str:
    """The fields of a card that differ from their defaults, on one line; ``card_from_dict`` reads them back."""
    plain = ModelCard(name=card.name, task=card.task)
    facts = {k: v for k, v in asdict(card).items() if k in ("name", "task") or v != getattr(plain, k)}
    return json.dumps(facts, sort_keys=True)
