"""Callbacks of VapourSynth, which run in whichever of its threads is free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import vapoursynth as vs

from vrt_core import compute_alone


def modify_frame(
    template: vs.VideoNode, clips: vs.VideoNode | Sequence[vs.VideoNode], callback: Callable[..., vs.VideoFrame]
) -> vs.VideoNode:
    """Return ``std.ModifyFrame``, its callback computing in one thread: the others are for the network."""

    def call(n: int, f: Any) -> vs.VideoFrame:
        compute_alone()
        return callback(n, f)

    return cast(Any, vs.core).std.ModifyFrame(template, clips, call)
