"""Warm start: initialise a network from the weights of another one, as far as they fit."""

import hashlib
import re
from pathlib import Path
from typing import cast

import torch

from vrt_core import VRT, find_model
from vrt_core.models import card_for_file, load_network

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Weights of earlier runs, in which later runs start. They never change, so that a recipe stays reproducible. A recipe
that starts from a shipped model states its sha256 (``start_sha256``), because a shipped model may be improved."""

_BLOCK = re.compile(r"\.blocks\.\d+$")


@torch.no_grad()
def warm_start(network: VRT, model: str, sha256: str | None = None) -> list[str]:
    """Copy the parameters of a model whose names and shapes match, in place.

    If the first convolutions have different numbers of input channels, the common ones are copied: in both, the frame
    is first, and the warped neighbours and the noise level follow. Blocks that the model lacks start as the identity,
    so a deeper network starts with the output of the shallower one. If any other parameter has no match, the last
    convolution is set to zero: the network starts with its base, for SR the bilinear enlargement.

    Args:
        network: Network to initialise.
        model: Name of a file in ``PRETRAINED``, name of a shipped or downloaded model, or path of a weights file.
        sha256: Expected checksum of the weights file; None for no check.

    Returns:
        Names of the parameters without a match, except those of new blocks.

    Raises:
        ValueError: If the weights file has another checksum.
    """
    source = _load_source(model, sha256)
    source_parameters = dict(source.named_parameters())
    source_modules = {name for name, _ in source.named_modules()}
    new_blocks = [name for name, _ in network.named_modules() if _BLOCK.search(name) and name not in source_modules]
    for name in new_blocks:
        for layer in ("attn.proj", "mlp.fc2"):
            for parameter in network.get_submodule(f"{name}.{layer}").parameters():
                parameter.zero_()
    missing = []
    for name, parameter in network.named_parameters():
        if name.startswith(tuple(f"{block}." for block in new_blocks)):
            continue
        other = source_parameters.get(name)
        if other is not None and name == "conv_first.weight" and other.shape[1] != parameter.shape[1]:
            only_source = source.config.nonblind_denoising and not network.config.nonblind_denoising
            common = min(other.shape[1] - only_source, parameter.shape[1])
            parameter[:, :common] = other[:, :common]
            missing.append(name)
        elif other is None or other.shape != parameter.shape:
            missing.append(name)
        else:
            parameter.copy_(other)
    if missing:
        for parameter in network.conv_last.parameters():
            parameter.zero_()
    return missing


def _load_source(model: str, sha256: str | None) -> VRT:
    path = PRETRAINED / f"{model}.safetensors"
    path = path if path.is_file() else Path(model)
    if path.is_file():
        card, digest = card_for_file(path), hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        path, card = None, find_model(model)
        digest = card.sha256
    if sha256 is not None and digest != sha256:
        raise ValueError(
            f"start_from ({model!r}) has the sha256 {digest}, but start_sha256 is {sha256}: this model changed since; "
            "name a file of the earlier weights, or start from the new ones by removing start_sha256"
        )
    return cast(VRT, load_network(card, path))
