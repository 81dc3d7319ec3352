"""How many frames VapourSynth is made to keep, and what that takes."""

from __future__ import annotations

import vapoursynth as vs

_WARN_FROM = 0.75  # of core.max_cache_size
_MARGIN = 1.25  # measured peaks lay up to 14 % above the estimate


def cached_frames(window_frames: int, stride: int, num_lanes: int = 1) -> int:
    """Return how many source frames to keep, so that each is asked for once though requests overtake each other.

    Enough for two windows and the frames around them, in runs forwards and backwards.

    Args:
        window_frames: In a window.
        stride: From one window to the next.
        num_lanes: Windows that are restored at once.
    """
    return window_frames + 2 + (1 + num_lanes) * max(stride, 4)


def kept_windows(overlap_frames: int, num_lanes: int = 1) -> int:
    """Return how many restored windows to keep, so that each is restored once in a run through the clip.

    Where windows overlap, a frame asks for two of them, one after the other: with two kept, some requests came too
    late for the first (about one in 4000, more with windows of a few frames).
    """
    return (3 if overlap_frames else 2) + num_lanes - 1


def kept_between(num_lanes: int = 1) -> int:
    """Return how many interpolated frames to keep, for consumers that are a little apart."""
    return 3 + num_lanes


def frame_bytes(clip: vs.VideoNode, scale: int = 1) -> int:
    """Return what a frame takes, enlarged so many times."""
    return clip.format.num_planes * clip.width * clip.height * clip.format.bytes_per_sample * scale**2


def estimate_windows(
    source: vs.VideoNode,
    vs_format: vs.VideoFormat,
    scale: int,
    window_frames: int,
    overlap_frames: int,
    num_lanes: int = 1,
) -> int:
    """Return the bytes held in frames for a clip restored in windows: source, windows kept, and those in the making.

    Args:
        source: What is restored.
        vs_format: Of the result.
        scale: Of the result.
        window_frames: In a window.
        overlap_frames: In two windows.
        num_lanes: Windows that are restored at once.
    """
    sample_bytes = vs_format.bytes_per_sample
    made_bytes = 3 * source.width * source.height * scale**2
    faded = min(2 * overlap_frames, window_frames)  # in float32 until they are blended
    window_bytes = ((window_frames - faded) * sample_bytes + faded * 4) * made_bytes
    cached = cached_frames(window_frames, window_frames - overlap_frames, num_lanes)
    waiting = num_lanes if num_lanes > 1 else 0  # to keep all lanes busy, as many frames again are asked for
    windows = kept_windows(overlap_frames, num_lanes) + num_lanes + waiting
    return cached * frame_bytes(source) + windows * window_bytes


def estimate_between(source: vs.VideoNode, window_frames: int, num_lanes: int = 1) -> int:
    """Return the bytes held in frames for a clip interpolated: source, frames kept, and those in the making."""
    cached = cached_frames(window_frames, 1, num_lanes)
    return (cached + kept_between(num_lanes) + num_lanes) * frame_bytes(source)


def warn_if_short(needed_bytes: int, clip: vs.VideoNode, result: vs.VideoNode) -> None:
    """Log a warning if frames leave VapourSynth's caches too little room: it would empty them over and over.

    Args:
        needed_bytes: Held in frames, by the estimates.
        clip: What goes in.
        result: What comes out.
    """
    needed_mib = _MARGIN * needed_bytes / 2**20
    limit_mib = vs.core.max_cache_size
    if needed_mib <= _WARN_FROM * limit_mib:
        return
    half = "" if clip.format.id == vs.RGBH else "RGBH instead of RGBS, or "
    vs.core.log_message(
        vs.MESSAGE_TYPE_WARNING,
        f"vrt: restoring to {result.width}x{result.height} px holds about {needed_mib:.0f} MiB of frames, but "
        f"core.max_cache_size is {limit_mib}; set it to {needed_mib / _WARN_FROM:.0f} or more, or use {half}"
        "a smaller window",
    )
