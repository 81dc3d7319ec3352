"""Clips that count requests, fake restorers, and the recorded passes of their networks."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
import vapoursynth as vs

from tests.helpers.fake_restorers import FakeNetwork, fake_restorer, fake_runner
from vrt_core import Restorer
from vs_plugin.cache_sizes import window_cache_frames
from vs_plugin.graph import build_graph
from vs_plugin.restoration import WindowGrid

core: Any = vs.core  # VapourSynth's stubs list no filters


def fake(window: int, overlap: int, **facts: Any) -> Restorer:
    """A real restorer of a fake network, for whole frames."""
    return fake_restorer(window=window, overlap=overlap, tile_px=0, **facts)


def fake_interpolator(factor: int) -> Restorer:
    runner = fake_runner(interpolates=True, tile_px=0)
    return Restorer([runner] * (factor.bit_length() - 1))


def filtered(clip: vs.VideoNode, *restorers: Restorer, **options: Any) -> vs.VideoNode:
    """The graph of the filter, with one restorer for each device."""
    return build_graph(clip, restorers, **{"sigma": None, "cuts": "props", "num_streams": 1, **options})


def expected_frames(restorer: Restorer, source: "Source", cuts: Iterable[int] = ()) -> np.ndarray:
    """The whole clip from the core, (T, 3, H, W)."""
    return restorer.restore(source.frames, cuts=list(cuts)).numpy()


def max_requests(restorer: Restorer, source: "Source", num_workers: int = 1) -> int:
    """Requests in flight, in order, that touch no more windows than the cache holds.

    R frames in order touch at most (R + stride + overlap - 2) // stride + 1 windows.
    """
    grid = WindowGrid.from_plan(restorer.plan(source.clip.num_frames, source.clip.height, source.clip.width))
    num_cached = window_cache_frames(grid.overlap, min(num_workers, grid.num_windows))
    return (num_cached - 1) * grid.stride - grid.overlap + 1


class Passes:
    """Records the passes of the network of a fake restorer."""

    def __init__(self, restorer: Restorer, before: Callable[[torch.Tensor], object] = lambda clip: None) -> None:
        """Record from now on; ``before`` is called in the thread of each pass, with its input (1, T, C, H, W)."""
        self.inputs: Counter[str] = Counter()
        """Passes by the digest of their input."""
        self.threads: set[int] = set()
        """Threads in which the passes ran."""
        self._first_pixels: Counter[float] = Counter()
        self._before = before
        network = restorer.runners[0].network
        assert isinstance(network, FakeNetwork)
        network.before = self._record

    def _record(self, clip: torch.Tensor) -> None:
        self._before(clip)
        self.inputs[hashlib.sha256(clip.contiguous().numpy().tobytes()).hexdigest()] += 1
        self._first_pixels[clip[0, 0, 0, 0, 0].item()] += 1
        self.threads.add(threading.get_ident())

    def starts(self, source: "Source") -> Counter[int]:
        """Passes by the first source frame of their input."""
        return Counter({source.number_of(pixel): count for pixel, count in self._first_pixels.items()})


def window_starts(restorer: Restorer, source: "Source") -> list[int]:
    """First source frame of each window of a clip without cuts."""
    return [window.start for window in restorer.plan(source.clip.num_frames, source.clip.height, source.clip.width)]


class Source:
    """A clip of noise that counts the requests of each of its frames."""

    def __init__(
        self,
        num_frames: int,
        *,
        width: int = 6,
        height: int = 4,
        vs_format: int = vs.RGBS,
        props: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        dtype = np.float16 if vs_format == vs.RGBH else np.float32
        planes = vs.core.get_video_format(vs_format).num_planes
        noise = np.random.default_rng(num_frames).uniform(-0.2, 1.2, (num_frames, planes, height, width)).astype(dtype)
        requests: Counter[int] = Counter()

        def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # a method would be a cycle that keeps the clip alive
            requests[n] += 1
            frame = f.copy()
            for plane in range(planes):
                np.copyto(np.asarray(frame[plane]), noise[n, plane])
            frame.props.update({"Number": n, **(props or {}).get(n, {})})
            return frame

        blank = core.std.BlankClip(None, width, height, vs_format, num_frames, fpsnum=24000, fpsden=1001, keep=True)
        self.clip: vs.VideoNode = core.std.ModifyFrame(blank, blank, fill)
        core.std.SetVideoCache(self.clip, mode=0)  # a cache would hide repeated requests
        self.pixels, self.requests = noise, requests

    @property
    def frames(self) -> torch.Tensor:
        """All frames, (T, C, H, W), float32."""
        return torch.from_numpy(self.pixels.astype(np.float32))

    def number_of(self, first_pixel: float) -> int:
        """The frame with this value in its first pixel."""
        (n,) = np.flatnonzero(self.pixels[:, 0, 0, 0] == first_pixel)
        return int(n)


def pixels(frame: vs.VideoFrame) -> np.ndarray:
    return np.stack([np.asarray(frame[plane]) for plane in range(3)])


def cut_flags(cuts: Iterable[int], flags: str = "both") -> dict[int, dict[str, int]]:
    """Properties of the frames around cuts, as scene filters set them: previous, next, or both."""
    props: dict[int, dict[str, int]] = {0: {"_SceneChangePrev": 1}}  # as scxvid does; not a cut
    for c in cuts:
        if flags != "next":
            props.setdefault(c, {})["_SceneChangePrev"] = 1
        if flags != "previous":
            props.setdefault(c - 1, {})["_SceneChangeNext"] = 1
    return props


def fetch(clip: vs.VideoNode, order: Iterable[int] | None = None, *, requests: int = 1) -> dict[int, np.ndarray]:
    """Frames by number, requested in this order, with at most ``requests`` in flight."""
    results: dict[int, np.ndarray] = {}
    pending: list = []
    for n in range(clip.num_frames) if order is None else order:
        pending.append((n, clip.get_frame_async(n)))
        if len(pending) == requests:
            number, future = pending.pop(0)
            with future.result() as frame:
                results[number] = pixels(frame).copy()
    for number, future in pending:
        with future.result() as frame:
            results[number] = pixels(frame).copy()
    return results


def differing(frames: dict[int, np.ndarray], expected: np.ndarray) -> list[int]:
    """Numbers of the frames that are not equal, bit for bit."""
    return [n for n in frames if not np.array_equal(frames[n], expected[n])]
