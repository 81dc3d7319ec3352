"""A clip restored in windows, as a graph of VapourSynth nodes in which every frame is a function of its number alone.

Three steps, each a node (N frames, K windows, ``stride`` frames from one window to the next)::

    source (N)  --> one strided clip for each place in a window (K)
                --> window clip (K): ModifyFrame restores window k and returns a carrier: a 1x1 frame whose
                    properties are the restored frames, so that handing them on copies nothing
                --> output (N): frame n asks for the carriers of the first and of the last window that see it
                    (they differ only where windows overlap), and takes its frame out of them, or blends two

VapourSynth fetches the frames of a window itself, in parallel, and never runs the callback of a node twice at once;
no callback of ours asks for a frame and waits for it. All plans are arithmetic: an endless clip costs no more than
a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
import vapoursynth as vs

from .callbacks import modify_frame
from .frame_cache import cached_frames, kept_windows
from .frames import read_frames, read_levels
from .window_frame import put, take
from .workers import Made, deal

if TYPE_CHECKING:
    from vrt_core import Plan, Restorer, Sigma

    from .scene_props import Props
    from .workers import Lane


def windowed(
    source: vs.VideoNode,
    link: Restorer,
    lanes: Sequence[Lane],
    *,
    sigma: Sigma | vs.VideoNode | None,
    props: Props,
    vs_format: vs.VideoFormat,
) -> tuple[vs.VideoNode, Windows]:
    """Restore a clip with a network that gives as many frames as it takes; the arguments are checked already.

    Args:
        source: RGBS or RGBH of constant size; a node of our own, whose cache is set here.
        link: The network, for its plan.
        lanes: Where it runs.
        sigma: Noise level in 8-bit units, or a clip of it, for the models that ask for it; likewise of our own.
        props: Tells of scene cuts.
        vs_format: Of the result, RGBS or RGBH.

    Returns:
        As many frames as ``source`` with its properties, ``link.scale`` times as wide and high; and what to release.
    """
    std, N = cast(Any, vs.core).std, source.num_frames
    plan = link.plan(N, source.height, source.width)
    K, stride, overlap, window_frames = window_grid(plan)
    # A cut just outside a window changes its cross-fade, so the frames there are looked at, but not restored.
    margin = 1 if props.flags and overlap else 0
    clips = [source] if not isinstance(sigma, vs.VideoNode) else [source, sigma]
    for clip in clips:
        std.SetVideoCache(clip, mode=1, fixedsize=1, maxsize=cached_frames(window_frames, stride, len(lanes)))
    kept = kept_windows(overlap, len(lanes))
    # With more requests than frames in a stride, the next window is asked for anyway, and frames would come twice.
    ahead = len(lanes) == 1 and vs.core.num_threads <= stride
    windows = Windows(clips, link, lanes, plan, margin, sigma, props, vs_format, kept, ahead)

    carrier = std.BlankClip(source, width=1, height=1, format=vs.GRAY8, length=K, keep=True)
    last_start = plan[K - 1].start
    inputs = [_place(source, i, K, stride, last_start) for i in range(-margin, window_frames + margin)]
    inputs += [_place(clip, i, K, stride, last_start) for clip in clips[1:] for i in range(window_frames)]
    window_clip = deal(lanes, carrier, [carrier, *inputs], windows.fill, kept=kept)

    # Frame n is seen by the windows from (n - overlap) // stride to n // stride, as far as they exist.
    each = std.Interleave([window_clip] * stride, modify_duration=False)
    std.SetVideoCache(each, mode=0)  # with two consumers it would keep carriers of its own
    early = late = each
    if overlap:
        head, tail = std.Trim(window_clip, 0, 0), std.Trim(window_clip, K - 1, K - 1)
        early = std.Splice([std.Loop(head, overlap), each])
        late = std.Splice([each, std.Loop(tail, overlap)])
    early, late = std.Trim(early, length=N), std.Trim(late, length=N)

    width, height = source.width * link.scale, source.height * link.scale
    blank = std.BlankClip(source, width=width, height=height, format=vs_format.id, keep=True)
    output = modify_frame(blank, [early, late], windows.take)
    std.SetVideoCache(output, mode=0)  # its frames lie in the carriers already
    return output, windows


def window_grid(plan: Plan) -> tuple[int, int, int, int]:
    """Return number of windows, frames from one to the next, frames that two share, and frames in one."""
    first, K = plan[0], len(plan)
    # Window 0 gives all its frames a share, and window 1 starts with the first frame of its own.
    stride = plan[1].shares[0][0] if K > 1 else plan.num_frames
    return K, stride, len(first.shares) - stride, first.stop - first.start


def _place(source: vs.VideoNode, i: int, num_windows: int, stride: int, last_start: int) -> vs.VideoNode:
    """Return a clip of K frames: frame k is the one at place i of window k, or the nearest to it in the clip.

    Place 0 is the first frame of the window. Windows start ``stride`` frames apart, all but the last one.
    """
    std, end = cast(Any, vs.core).std, source.num_frames - 1
    first, last = max(i, 0), min(last_start + i, end)
    parts = [std.Trim(source, first, first)]
    if num_windows > 2:
        inner = std.Trim(source, stride + i, (num_windows - 2) * stride + i)
        parts.append(std.SelectEvery(inner, stride, [0], modify_duration=False) if stride > 1 else inner)
    if num_windows > 1:
        parts.append(std.Trim(source, last, last))
    return std.Splice(parts)


class Windows:
    """Restores the windows of one clip when they are asked for."""

    def __init__(
        self,
        clips: Sequence[vs.VideoNode],
        link: Restorer,
        lanes: Sequence[Lane],
        plan: Plan,
        margin: int,
        sigma: Sigma | vs.VideoNode | None,
        props: Props,
        vs_format: vs.VideoFormat,
        kept: int,
        ahead: bool,
    ) -> None:
        self._size = clips[0].num_frames, clips[0].height, clips[0].width
        self._clips, self._lanes, self._plan, self._scale = list(clips), lanes, plan, link.scale
        self._margin, self._props, self._vs_format, self._ahead = margin, props, vs_format, ahead
        self._sigma_255: Sigma | None = None if isinstance(sigma, vs.VideoNode) else sigma
        self._window_frames = window_grid(plan)[3]
        self._made = Made(kept)
        self._latest = -2

    def fill(self, lane: Lane, n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        """Return the carrier of window n.

        Args:
            lane: Where to restore it.
            n: Number of the window.
            f: An empty carrier, then the frames of the window, ``margin`` more on either side; then the frames of the
                noise level, if they come in a clip.
        """
        if (made := self._made.get(n)) is not None:
            return made
        window = self._plan[n]
        start, length = window.start, window.stop - window.start
        lead = min(self._margin, start)  # at the ends of the clip the margin only repeats a frame
        trail = min(self._margin, self._size[0] - window.stop)
        frames = f[1 + self._margin : 1 + self._margin + length]
        near = f[1 + self._margin - lead : 1 + self._margin + length + trail]
        if cuts := self._props.cuts(near, start - lead):
            window = lane.link.plan(*self._size, cuts=cuts)[n]
        rgb = read_frames(frames)
        if len(self._clips) > 1:
            levels = f[-self._window_frames :][:length]  # the last window may be short
            rgb = torch.cat((rgb, read_levels(levels, start)), dim=1)
        if self._ahead and self._latest == n - 1:
            self._fetch(n + 1)
        self._latest = n

        carrier = f[0].copy()
        shares = lane.restore(window, rgb, self._sigma_255)
        for share in shares:
            like = frames[share.index - start]
            put(carrier, share, like.props, self._vs_format, keeps_size=self._scale == 1)
        return self._made.put(n, carrier, [share.index for share in shares])

    def take(self, n: int, f: Sequence[vs.VideoFrame]) -> vs.VideoFrame:
        """Return frame n of the result, out of the carriers of the first and of the last window that see it."""
        frame = take(n, f, self._vs_format)
        self._made.taken(n)
        return frame

    def release(self) -> None:
        """Let go of the model and of all frames; who asks for a frame afterwards gets an error."""
        for lane in self._lanes:
            lane.release()
        self._made.clear()

    def _fetch(self, n: int) -> None:
        """Ask for what window n reads and those before it did not, so that it is there when they are done."""
        if n < len(self._plan):
            for clip in self._clips:
                margin = self._margin if clip is self._clips[0] else 0  # noise levels are read of the window alone
                begin, end = (min(self._plan[k].stop + margin, self._size[0]) for k in (n - 1, n))
                for i in range(begin, end):
                    clip.get_frame_async(i, _drop)


def _drop(frame: vs.VideoFrame | None, error: Exception | None) -> None:
    """Leave a frame to the cache; an error comes again when the frame is asked for in earnest."""
    if frame is not None:
        frame.close()
