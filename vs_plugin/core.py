"""Typed access to the filters of ``vapoursynth.core.std``; VapourSynth's own stubs do not list filters."""

# ruff: noqa: N802, D102 (names and signatures are those of VapourSynth)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import vapoursynth as vs


class Std(Protocol):
    """The filters of ``core.std`` that this package uses; VapourSynth's documentation describes them."""

    def BlankClip(
        self,
        clip: vs.VideoNode,
        *,
        width: int = ...,
        height: int = ...,
        format: int = ...,
        length: int = ...,
        keep: bool = ...,
    ) -> vs.VideoNode: ...
    def Interleave(self, clips: Sequence[vs.VideoNode], *, modify_duration: bool = ...) -> vs.VideoNode: ...
    def Loop(self, clip: vs.VideoNode, times: int) -> vs.VideoNode: ...
    def ModifyFrame(
        self,
        clip: vs.VideoNode,
        clips: vs.VideoNode | Sequence[vs.VideoNode],
        selector: Callable[[int, Any], vs.VideoFrame],
    ) -> vs.VideoNode: ...
    def RemoveFrameProps(self, clip: vs.VideoNode, props: Sequence[str]) -> vs.VideoNode: ...
    def SelectEvery(
        self, clip: vs.VideoNode, cycle: int, offsets: Sequence[int], *, modify_duration: bool = ...
    ) -> vs.VideoNode: ...
    def SetFrameProps(self, clip: vs.VideoNode, **props: int) -> vs.VideoNode: ...
    def SetVideoCache(self, clip: vs.VideoNode, mode: int, fixedsize: int = ..., maxsize: int = ...) -> None: ...
    def Splice(self, clips: Sequence[vs.VideoNode]) -> vs.VideoNode: ...
    def Trim(self, clip: vs.VideoNode, first: int = ..., last: int = ..., length: int = ...) -> vs.VideoNode: ...


def std() -> Std:
    """Return ``core.std`` of the current script."""
    return getattr(vs.core, "std")  # noqa: B009 (an attribute that the stubs do not have)


def set_cache(node: vs.VideoNode, num_frames: int) -> None:
    """Make VapourSynth cache the last ``num_frames`` frames of a node, however many consumers it has."""
    std().SetVideoCache(node, mode=1, fixedsize=1, maxsize=num_frames)


def disable_cache(node: vs.VideoNode) -> None:
    """Make VapourSynth cache no frames of a node."""
    std().SetVideoCache(node, mode=0)
