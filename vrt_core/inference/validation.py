"""Validation of frames, noise levels and cuts, and the noise level as a fourth channel."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from ..errors import InputError
from ..options import MAX_SIGMA_255, Cuts, RestoreOptions, Sigma
from .window_plan import clean_cuts


def resolve_cuts(cuts: Cuts) -> tuple[int, ...] | None:
    """Return the cuts that an option names, sorted; None if they are to be detected.

    Raises:
        InputError: If it names none.
    """
    if not isinstance(cuts, str):
        return clean_cuts(cuts)
    if cuts not in ("auto", "off"):
        raise InputError(f"cuts ({cuts!r}) must be auto, off, or the first frames of scenes")
    return None if cuts == "auto" else ()


def check_frame(
    frame: Tensor,
    n: int,
    name: str,
    channels: int,
    *,
    shape: torch.Size | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return frame n as a contiguous float32 copy without gradient.

    Args:
        frame: (C, H, W), RGB nominally in [0, 1] and, for models that take it, the noise level (sigma / 255) last.
        n: Number of the frame.
        name: Name of the model.
        channels: Channels that the model takes: 3, or 4 with the noise level, which may be left out.
        shape: Shape of the frames before it, if there are any.
        device: Device of the copy; that of the frame if None.

    Raises:
        InputError: If rank, channels, size, dtype or values do not fit.
    """
    if not isinstance(frame, Tensor):
        raise InputError(
            f"frame {n} is a {type(frame).__name__}, expected a torch tensor (C, H, W); see torch.from_numpy"
        )
    check_shape(frame, f"frame {n}", "(C, H, W)", name, channels)
    if shape is not None and frame.shape != shape:
        raise InputError(
            f"frame {n} has shape {tuple(frame.shape)}, the frames before it {tuple(shape)}; all frames of a "
            "clip must have one shape: scale or pad them first, or restore the parts as clips of their own"
        )
    frame = frame.detach().to(device, torch.float32, copy=True, memory_format=torch.contiguous_format)
    check_values(frame[None], n)
    return frame


def check_clip(frames: Tensor, name: str, channels: int, *, first: int = 0) -> Tensor:
    """Return a clip (T, C, H, W) as contiguous float32 without gradient; see ``check_frame``."""
    if not isinstance(frames, Tensor):
        raise InputError(
            f"frames is a {type(frames).__name__}, expected a torch tensor (T, C, H, W); see torch.from_numpy"
        )
    check_shape(frames, "frames", "(T, C, H, W)", name, channels)
    frames = frames.detach()
    for i, frame in enumerate(frames):  # one by one: a copy of the clip could be too much
        check_values(frame[None].float(), first + i)
    return frames.float().contiguous()


def check_shape(frames: Tensor, what: str, axes: str, name: str, channels: int) -> None:
    """Raise InputError unless rank, channels, sizes and dtype fit."""
    shape = tuple(frames.shape)
    if len(shape) != axes.count(",") + 1:
        raise InputError(f"{what} has shape {shape}, expected {axes} with {len(axes.split(','))} axes")
    if 0 in shape:
        raise InputError(f"{what} is empty, shape {shape}; expected {axes} with every axis at least 1")
    if shape[-3] not in {3, channels}:
        advice = "; move the channels to the front with movedim(-1, -3)" if shape[-1] in {3, channels} else ""
        if shape[-3] == 4 and not advice:
            advice = "; leave out the fourth, it is not a noise level here"
        accepted = "3 (RGB)" if channels == 3 else "3 (RGB) or 4 (RGB and noise level)"
        raise InputError(
            f"{what} has {shape[-3]} channels in shape {shape}; model {name} takes {accepted} in {axes}{advice}"
        )
    if not frames.is_floating_point():
        advice = (
            "convert with frames.float() / 255"
            if frames.dtype == torch.uint8
            else "convert to floating point in [0, 1]"
        )
        raise InputError(f"{what} has dtype {frames.dtype}; expected floating point, RGB in [0, 1]: {advice}")


def check_values(frames: Tensor, first: int) -> None:
    """Raise InputError unless frames (T, C, H, W) are finite and a fourth channel is a noise level."""
    for i, frame in enumerate(frames):
        if not torch.isfinite(frame).all():
            raise InputError(
                f"frame {first + i} holds NaN or infinite values; every value must be finite, nominally in [0, 1]"
            )
        if frame.shape[0] == 4 and not _are_levels(frame[3]):
            raise InputError(
                f"frame {first + i} has noise levels from {frame[3].min():.4g} to {frame[3].max():.4g}; the fourth "
                f"channel is sigma / 255 and must lie in 0 to {MAX_SIGMA_255 / 255:.4g} (sigma 0 to {MAX_SIGMA_255})"
            )


def _are_levels(level: Tensor) -> bool:
    return bool((level >= 0).all() and (level <= (MAX_SIGMA_255 + 0.01) / 255).all())  # tolerance for rounding


def check_sigma(name: str, needs_sigma: bool, sigma_255: Sigma | None, *, has_map: bool) -> None:
    """Raise InputError unless the noise level is given exactly once to a model that needs it, and to no other.

    Args:
        name: Name of the model.
        needs_sigma: Whether the model needs the noise level.
        sigma_255: Standard deviation of the noise, 0 to 50 in 8-bit units, or "auto".
        has_map: Whether frames carry the level as a fourth channel.
    """
    if sigma_255 is None:
        if needs_sigma and not has_map:
            raise InputError(
                f"sigma_255 is missing: model {name} removes noise of a known strength; give sigma_255 between 0 and "
                f"{MAX_SIGMA_255} (8-bit units), 'auto', or the level / 255 as a fourth channel of each frame"
            )
        return
    if not needs_sigma:
        raise InputError(f"sigma_255 ({sigma_255!r}) was given, but model {name} takes no noise level; leave it out")
    if has_map:
        raise InputError(
            f"sigma_255 ({sigma_255!r}) was given, but the frames carry noise levels as a fourth channel; give one"
        )
    if isinstance(sigma_255, str) and sigma_255 == "auto":
        return
    if not isinstance(sigma_255, Real) or isinstance(sigma_255, bool) or not 0 <= sigma_255 <= MAX_SIGMA_255:
        hint = (
            "; it counts in 8-bit units, not in [0, 1]"
            if isinstance(sigma_255, Real) and math.isfinite(sigma_255)
            else ""
        )
        raise InputError(f"sigma_255 ({sigma_255!r}) must be a number between 0 and {MAX_SIGMA_255}, or 'auto'{hint}")


def check_no_strength(name: str, options: RestoreOptions) -> None:
    """Raise InputError if options mix restored frames with their input, for a model that has none for new frames."""
    for option in ("strength", "chroma_strength"):
        if (value := getattr(options, option)) not in (None, 1):
            raise InputError(
                f"{option} ({value:g}) was given, but model {name} interpolates: its frames have no frame before to be "
                "mixed with; leave it out"
            )


def append_noise_level(frames: Tensor, sigma_255: float | None) -> Tensor:
    """Return frames (T, 3, H, W) with a fourth channel sigma / 255, if a noise level is given."""
    if sigma_255 is None:
        return frames
    level = frames.new_full((1,), sigma_255 / 255).expand(frames.shape[0], 1, *frames.shape[2:])
    return torch.cat((frames, level), dim=1)
