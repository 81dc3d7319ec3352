"""Sizes of the frame caches, in frames and bytes, and a warning if VapourSynth's limit is too small for them."""

from __future__ import annotations

import vapoursynth as vs

_MAX_SHARE = 0.75
"""Share of ``core.max_cache_size`` from which a warning is logged."""
_MARGIN = 1.25
"""Measured peaks are up to 14 % above the estimate."""


def source_cache_frames(window_frames: int, stride: int, num_workers: int = 1) -> int:
    """Return the size of the cache of source frames, so that each is requested once in a forward or backward run.

    It holds the frames of a window, of its neighbours on both sides, and one more frame at either end: requests in
    flight overtake each other by less than a window.

    Args:
        window_frames: Frames in a window.
        stride: Frames from one window to the next.
        num_workers: Windows that are restored at once.
    """
    return window_frames + 2 + (1 + num_workers) * max(stride, 4)


def window_cache_frames(overlap_frames: int, num_workers: int = 1) -> int:
    """Return the size of the cache of restored windows, so that each is restored once in a run through the clip.

    Where windows overlap, an output frame requests two windows, one after the other: with a cache of two, some
    requests came too late for the first (about one in 4000; more with windows of a few frames).
    """
    return (3 if overlap_frames else 2) + num_workers - 1


def interpolated_cache_frames(num_workers: int = 1) -> int:
    """Return the size of the cache of interpolated frames, for consumers that are a few frames apart."""
    return 3 + num_workers


def frame_bytes(clip: vs.VideoNode) -> int:
    """Return the bytes of one frame."""
    return clip.format.num_planes * clip.width * clip.height * clip.format.bytes_per_sample


def restoration_bytes(
    source: vs.VideoNode,
    vs_format: vs.VideoFormat,
    scale: int,
    window_frames: int,
    overlap_frames: int,
    num_workers: int = 1,
) -> int:
    """Return the bytes of frames that a restored clip keeps: cached source frames, windows cached and in progress.

    Args:
        source: The clip that is restored.
        vs_format: Format of the result.
        scale: Output height over input height.
        window_frames: Frames in a window.
        overlap_frames: Frames that two windows share.
        num_workers: Windows that are restored at once.
    """
    output_samples = 3 * source.width * source.height * scale**2
    blended = min(2 * overlap_frames, window_frames)  # in float32 until they are blended
    window_bytes = ((window_frames - blended) * vs_format.bytes_per_sample + blended * 4) * output_samples
    cached = source_cache_frames(window_frames, window_frames - overlap_frames, num_workers)
    waiting = num_workers if num_workers > 1 else 0  # to keep all workers busy, twice as many windows are requested
    windows = window_cache_frames(overlap_frames, num_workers) + num_workers + waiting
    return cached * frame_bytes(source) + windows * window_bytes


def interpolation_bytes(source: vs.VideoNode, window_frames: int, num_workers: int = 1) -> int:
    """Return the bytes of frames that an interpolated clip keeps: source frames, results cached and in progress."""
    cached = source_cache_frames(window_frames, 1, num_workers)
    return (cached + interpolated_cache_frames(num_workers) + num_workers) * frame_bytes(source)


def warn_if_short(needed_bytes: int, clip: vs.VideoNode, result: vs.VideoNode) -> None:
    """Log a warning if VapourSynth's limit leaves too little room: it would empty its caches again and again.

    Args:
        needed_bytes: Bytes of all cached frames, as estimated.
        clip: Input of the filter.
        result: Output of the filter.
    """
    needed_mib = _MARGIN * needed_bytes / 2**20
    limit_mib = vs.core.max_cache_size
    if needed_mib <= _MAX_SHARE * limit_mib:
        return
    half = "" if clip.format.id == vs.RGBH else "RGBH instead of RGBS, or "
    vs.core.log_message(
        vs.MESSAGE_TYPE_WARNING,
        f"vrt: restoring to {result.width}x{result.height} px holds about {needed_mib:.0f} MiB of frames, but "
        f"core.max_cache_size is {limit_mib}; set it to {needed_mib / _MAX_SHARE:.0f} or more, or use {half}"
        "a smaller window",
    )
