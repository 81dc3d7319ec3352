"""Start a network from the weights of another: whatever fits is taken over."""

import re
from pathlib import Path
from typing import cast

import torch

from vrt_core import VRT, card_for_file, find_model, load_network

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Weights of first runs that later ones go on from. They stay as they are when a shipped model gets better, so that
a recipe makes the same again."""

_BLOCK = re.compile(r"\.blocks\.\d+$")


@torch.no_grad()
def warm_start(network: VRT, model: str) -> list[str]:
    """Copy the parameters of a model whose names and shapes fit, in place.

    The channels that both first convolutions read are copied: the frame itself comes first in each, then warped ones;
    what only the new one reads begins as it would. Blocks that the model does not have begin as the identity, so that a
    deeper network begins where a shallower one ended. If anything else did not fit, the last convolution is set to
    zero: the network begins with what it would do without learning.

    Args:
        network: To start.
        model: Name of a file in ``PRETRAINED``, of a model that is on this machine (one that ships, or one that was
            downloaded), or a weights file.

    Returns:
        Names of the parameters that were not found, those of new blocks left out.
    """
    path = PRETRAINED / f"{model}.safetensors"
    path = path if path.is_file() else Path(model)
    source = cast(VRT, load_network(card_for_file(path), path) if path.is_file() else load_network(find_model(model)))
    found = dict(source.named_parameters())
    there = {name for name, _ in source.named_modules()}
    grown = [name for name, _ in network.named_modules() if _BLOCK.search(name) and name not in there]
    for name in grown:
        for layer in ("attn.proj", "mlp.fc2"):
            for parameter in network.get_submodule(f"{name}.{layer}").parameters():
                parameter.zero_()
    missing = []
    for name, parameter in network.named_parameters():
        if name.startswith(tuple(f"{block}." for block in grown)):
            continue
        other = found.get(name)
        if other is not None and name == "conv_first.weight" and other.shape[1] != parameter.shape[1]:
            common = min(other.shape[1] - source.config.nonblind_denoising, parameter.shape[1])
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
