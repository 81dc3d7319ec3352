"""What `vrt restore` takes beside its network: reading and encoding at the same time, and one after the other.

    python benchmarks/pipeline_overlap.py [--network wait|denoise-small] [--size 360x640] [--frames 90] [--runs 5]

A lossy video is read, restored and encoded with x264 as the command line does it. "wait" stands for a network on a
device of its own: for every window it leaves the computer idle for ``--ms`` a frame, as a GPU would, so what reading
and encoding add to that can be seen without one. A model computes on the same cores that encode: there, the work adds
up and only waiting is saved. "Network alone" restores frames that lie in memory and drops the results. "In turn" is the
same work in one thread. Runs of the three in turn, medians, and the median of the ratios of each run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import batched
from pathlib import Path
from typing import Any

import av
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from vrt_cli.job import run  # noqa: E402
from vrt_cli.outputs import Output  # noqa: E402
from vrt_core import load_restorer  # noqa: E402
from vrt_media.encoding import Encoding  # noqa: E402
from vrt_media.reader import VideoSource  # noqa: E402
from vrt_media.timeline import Timeline  # noqa: E402


class Waiting:
    """A restorer that gives frames back, window by window, after as long as a device would take."""

    scale = frame_factor = 1
    device = torch.device("cpu")

    def __init__(self, window: int, seconds: float) -> None:
        self.window, self.seconds = window, seconds

    def stream(self, frames: Iterable[Tensor], **options: Any) -> Iterator[Tensor]:
        """Give frames back."""
        for window in batched(frames, self.window):
            time.sleep(self.seconds * len(window))
            yield from window


def make_clip(path: Path, frames: int, height: int, width: int) -> None:
    """Encode the demo clip, enlarged or cut down, back and forth, with some noise."""
    with av.open(str(ROOT / "demo/bird.mp4")) as file:
        shown = [frame.reformat(width, height, "rgb24").to_ndarray() for frame in file.decode(video=0)]
    there_and_back = shown + shown[-2:0:-1]
    noise = torch.Generator().manual_seed(0)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=24, options={"crf": "18", "preset": "veryfast"})
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        for n in range(frames):
            clean = torch.from_numpy(there_and_back[n % len(there_and_back)])
            noisy = clean + 8 * torch.randn(clean.shape, generator=noise)
            frame = av.VideoFrame.from_ndarray(noisy.clamp(0, 255).byte().numpy(), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def in_turn(source: VideoSource, restorer: Any, make_sink: Callable[[], Any], **options: Any) -> None:
    """Do what the command line does, in one thread."""
    facts, sink = source.facts, make_sink()
    timeline = Timeline(time_base=facts.time_base, frame_duration=facts.frame_duration, factor=restorer.frame_factor)

    def frames() -> Iterator[Tensor]:
        for picture in source.pictures(sink.copy):
            timeline.push(picture.pts)
            yield picture.rgb

    for index, rgb in enumerate(restorer.stream(frames(), **options)):
        sink.write(rgb, timeline.stamp(index))
    sink.close()


def through_files(way: Callable[..., Any], clip: Path, restorer: Any, options: dict[str, Any]) -> float:
    """Return the wall seconds of a job, from an open source to a finished file."""
    with tempfile.TemporaryDirectory() as folder, closing(VideoSource(clip)) as source:
        job = Output(f"{folder}/out.mkv", source, restorer, Encoding())
        start = time.perf_counter()
        way(source, restorer, job.open, **options)
        return time.perf_counter() - start


def main() -> None:
    """Compare, and print a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="wait", help="wait, or the name of a model")
    parser.add_argument("--ms", type=float, default=60, help="what a frame takes to wait for")
    parser.add_argument("--window", type=int, default=16, help="frames in a window, to wait for")
    parser.add_argument("--size", default="360x640", help="HxW")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    H, W = (int(x) for x in args.size.split("x"))
    options: dict[str, Any] = {"cuts": "off"}
    if args.network == "wait":
        restorer: Any = Waiting(args.window, args.ms / 1000)
    else:
        restorer = load_restorer(args.network, device="cpu", tile_px=0)
        options["sigma_255"] = 10.0 if restorer.needs_sigma else None
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mkv"
        make_clip(clip, args.frames, H, W)
        with closing(VideoSource(clip)) as source:
            lying = [picture.rgb for picture in source.pictures(lambda packet: None)]
        found: dict[str, list[float]] = {"alone": [], "overlapped": [], "in turn": []}
        list(restorer.stream(lying[:12], **options))  # warm
        for _ in range(args.runs):
            start = time.perf_counter()
            for _frame in restorer.stream(lying, **options):
                pass
            found["alone"].append(time.perf_counter() - start)
            found["overlapped"].append(through_files(run, clip, restorer, options))
            found["in turn"].append(through_files(in_turn, clip, restorer, options))
            print("  ", {name: round(seconds[-1], 2) for name, seconds in found.items()}, file=sys.stderr)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    ratios = {
        name: statistics.median(b / a for a, b in zip(found["alone"], found[name], strict=True))
        for name in ("overlapped", "in turn")
    }
    print("| network | clip | runs | network alone s | vrt restore s | ratio | in turn s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {args.network} | {args.frames}x{args.size} | {args.runs} | {medians['alone']:.2f} "
        f"| {medians['overlapped']:.2f} | {ratios['overlapped']:.3f} "
        f"| {medians['in turn']:.2f} | {ratios['in turn']:.3f} |"
    )


if __name__ == "__main__":
    main()
