"""Placement of models, and cancelling."""

import torch


class OOM_EXCEPTION(Exception):  # noqa: N801 (ComfyUI's name)
    """Out of memory."""


class InterruptProcessingException(Exception):
    """The user has cancelled."""


class State:
    """State that tests set and read."""

    device = torch.device("cpu")
    moves_models = True
    """Whether models are moved to the device; False with --novram."""
    cancel_after = -1
    """Number of checks before a cancel; -1 for no cancel."""
    checks = 0
    loads: list[dict] = []  # noqa: RUF012 (one for all, on purpose)


state = State()


def get_torch_device() -> torch.device:
    return state.device


def unet_offload_device() -> torch.device:
    return torch.device("cpu")


def intermediate_device() -> torch.device:
    return torch.device("cpu")


def load_models_gpu(models: list, memory_required: int = 0, force_full_load: bool = False) -> None:
    state.loads.append({"models": list(models), "memory": memory_required, "force_full_load": force_full_load})
    for patcher in models:
        if state.moves_models:
            patcher.model.to(patcher.load_device)


def throw_exception_if_processing_interrupted() -> None:
    state.checks += 1
    if 0 <= state.cancel_after < state.checks:
        raise InterruptProcessingException
