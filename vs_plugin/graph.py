"""The filter as a graph of VapourSynth nodes: one stage per network, each a clip that the next stage reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakMethod

import vapoursynth as vs

from .cache_sizes import frame_bytes, source_cache_frames, warn_if_short
from .core import set_cache, std
from .frames import convert_format
from .interpolation import interpolate_clip
from .restoration import restore_clip
from .scene_props import CUT_PROPS, INTERNAL_CUT_PROP, CutSource, SceneProps, mark_cuts

if TYPE_CHECKING:
    from vrt_core import Restorer
    from vrt_core.options import Sigma


def build_graph(
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
        sigma: Noise level in 8-bit units, or a clip of it, for models that need it.
        cuts: Source of the scene cuts.
        num_streams: Windows that each device restores at once.

    Returns:
        The result in the format of ``clip``, with its properties.
    """
    rgbs = vs.core.get_video_format(vs.RGBS)
    node, scene_props, num_held_frames, needed_bytes = _private_copy(clip), SceneProps(CUT_PROPS[cuts]), 1, 0
    if cuts == "auto":
        set_cache(node, source_cache_frames(1, 1))
        needed_bytes += source_cache_frames(1, 1) * frame_bytes(node)
        node = mark_cuts(node)
    networks = list(zip(*(restorer.split() for restorer in restorers), strict=True))  # for each, one per device
    for i, network in enumerate(networks):
        is_last = i == len(networks) - 1
        vs_format = clip.format if is_last else rgbs
        if network[0].frame_factor == 2:
            source = _private_copy(node if is_last else convert_format(node, rgbs))
            node, stage = interpolate_clip(
                source, network, num_streams=num_streams, num_held_frames=num_held_frames, scene_props=scene_props
            )
            node, num_held_frames = convert_format(node, vs_format), 2 * num_held_frames
        else:
            noise = sigma if network[0].needs_sigma else None
            noise = _private_copy(noise) if isinstance(noise, vs.VideoNode) else noise
            node, stage = restore_clip(
                _private_copy(node),
                network,
                num_streams=num_streams,
                sigma=noise,
                scene_props=scene_props,
                vs_format=vs_format,
            )
        needed_bytes += stage.estimated_bytes
        _release_with_script(WeakMethod(stage.release))
    warn_if_short(needed_bytes, clip, node)
    return std().RemoveFrameProps(node, [INTERNAL_CUT_PROP]) if cuts == "auto" else node


def _private_copy(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a node of the same frames without other consumers, whose cache this filter may set."""
    return std().RemoveFrameProps(clip, ["_VRT"])  # removes nothing: no frame has this property


def _release_with_script(release: WeakMethod) -> None:
    """Free the model when the script is closed; a strong reference would keep it until then."""
    vs.register_on_destroy(lambda: (call := release()) and call())
