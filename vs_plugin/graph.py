"""The whole filter as a graph: one stage for each network of a chain, each a clip that the next one reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakMethod

import vapoursynth as vs

from .frame_cache import cached_frames, estimate_between, estimate_windows, frame_bytes, warn_if_short
from .frames import converted
from .interpolation import doubled, frames_ahead
from .restoration import window_grid, windowed
from .scene_props import FLAGS, FOUND, CutSource, Props, mark_cuts
from .workers import make_lanes

if TYPE_CHECKING:
    from vrt_core import Restorer, Sigma


def restored(
    clip: vs.VideoNode,
    restorers: Sequence[Restorer],
    *,
    sigma: Sigma | vs.VideoNode | None,
    cuts: CutSource,
    num_streams: int,
) -> vs.VideoNode:
    """Restore a clip; the arguments are checked already.

    Between the networks of a chain, frames are float32, and cuts are those of the source, as in the core.

    Args:
        clip: RGBS or RGBH of constant size.
        restorers: One for each device, all of one model with the same settings.
        sigma: Noise level in 8-bit units, or a clip of it, for models that ask for it.
        cuts: Where the scene cuts come from.
        num_streams: Windows that each device restores at once.

    Returns:
        The result in the format of ``clip``, with its properties.
    """
    std, whole = cast(Any, vs.core).std, vs.core.get_video_format(vs.RGBS)
    chain = list(zip(*(restorer.links for restorer in restorers), strict=True))
    node, props, hold, needed_bytes = _own(clip), Props(FLAGS[cuts]), 1, 0
    if cuts == "auto":
        std.SetVideoCache(node, mode=1, fixedsize=1, maxsize=cached_frames(1, 1))
        needed_bytes += cached_frames(1, 1) * frame_bytes(node)
        node = mark_cuts(node)
    for i, links in enumerate(chain):
        link, last = links[0], i == len(chain) - 1
        vs_format = clip.format if last else whole
        if link.frame_factor == 2:
            source = _own(node if last else converted(node, whole))
            lanes = make_lanes(links, num_streams, source.num_frames)
            needed_bytes += estimate_between(source, 2 + frames_ahead(hold), len(lanes))
            node, stage = doubled(source, lanes, hold=hold, props=props)
            node, hold = converted(node, vs_format), 2 * hold
        else:
            source, level = _own(node), None
            if link.needs_sigma:
                level = _own(sigma) if isinstance(sigma, vs.VideoNode) else sigma
            K, _, overlap, window_frames = window_grid(link.plan(source.num_frames, source.height, source.width))
            lanes = make_lanes(links, num_streams, K)
            needed_bytes += estimate_windows(source, vs_format, link.scale, window_frames, overlap, len(lanes))
            if isinstance(level, vs.VideoNode):
                needed_bytes += cached_frames(window_frames, window_frames - overlap, len(lanes)) * frame_bytes(level)
            node, stage = windowed(source, link, lanes, sigma=level, props=props, vs_format=vs_format)
        _release_with_script(WeakMethod(stage.release))
    warn_if_short(needed_bytes, clip, node)
    return std.RemoveFrameProps(node, [FOUND.begins]) if cuts == "auto" else node


def _own(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a node of our own, whose cache is ours to size."""
    return cast(Any, vs.core).std.RemoveFrameProps(clip, ["_VRT"])  # there is none


def _release_with_script(release: WeakMethod) -> None:
    """Free the model when the script is closed, if it is still there: a strong reference would keep it that long."""
    vs.register_on_destroy(lambda: (call := release()) and call())
