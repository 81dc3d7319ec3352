"""Measures `vrt restore` beside its network: reading and encoding in parallel with it, and all in one thread.

    python benchmarks/pipeline_overlap.py [--network wait|denoise-small] [--size 360x640] [--frames 90] [--runs 5]

A lossy video is read, restored and encoded with x264 by the code of the command line. "wait" stands for a network on a
device of its own: for every window the CPU is idle for ``--ms`` a frame, as with a GPU, so the cost of reading and
encoding shows without one. A model computes on the cores that also encode: there the work adds up and only waiting can
be saved. "Network alone" restores frames in memory and drops the results. "In one pass" is what `vrt restore` does with
pipes, "in segments" what it does with files (models only). "In turn" does the work of one pass in one thread. Runs
alternate; times are medians, ratios the median of the ratios of each run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import batched
from pathlib import Path
from typing import Any

import av
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from vrt_core import RestoreOptions, Restorer, load_restorer  # noqa: E402
from vrt_jobs.callbacks import Callbacks  # noqa: E402
from vrt_jobs.events import JobEvents  # noqa: E402
from vrt_jobs.inputs import InputSource  # noqa: E402
from vrt_jobs.job import SegmentedJob  # noqa: E402
from vrt_jobs.outputs import OutputTarget  # noqa: E402
from vrt_jobs.pipeline import run  # noqa: E402
from vrt_jobs.request import JobRequest  # noqa: E402
from vrt_media.encoding import Encoding  # noqa: E402
from vrt_media.reader import VideoReader  # noqa: E402
from vrt_media.timeline import Timeline  # noqa: E402


class WaitingRestorer:
    """A restorer that returns its input, window by window, after the time that a device would take."""

    scale = frame_factor = 1
    device = torch.device("cpu")

    def __init__(self, window: int, seconds: float) -> None:
        self.window, self.seconds = window, seconds

    def first_frame_needed(self, first_output: int) -> int:
        """Return the frame itself."""
        return first_output

    def stream(self, frames: Iterable[Tensor], **options: Any) -> Iterator[Tensor]:
        """Yield the frames unchanged."""
        for window in batched(frames, self.window):
            time.sleep(self.seconds * len(window))
            yield from window


def make_clip(path: Path, frames: int, height: int, width: int) -> None:
    """Encode the demo clip, resized, forwards and backwards in turns, with noise of sigma 8."""
    with av.open(str(ROOT / "demo/bird.mp4")) as file:
        images = [frame.reformat(width, height, "rgb24").to_ndarray() for frame in file.decode(video=0)]
    loop = images + images[-2:0:-1]
    noise = torch.Generator().manual_seed(0)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=24, options={"crf": "18", "preset": "veryfast"})
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        for n in range(frames):
            clean = torch.from_numpy(loop[n % len(loop)])
            noisy = clean + 8 * torch.randn(clean.shape, generator=noise)
            frame = av.VideoFrame.from_ndarray(noisy.clamp(0, 255).byte().numpy(), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def run_in_turn(reader: VideoReader, restorer: Any, open_writer: Callable[[], Any], **options: Any) -> None:
    """Do the work of the command line in one thread."""
    info, writer = reader.info, open_writer()
    timeline = Timeline(time_base=info.time_base, frame_duration=info.frame_duration, factor=restorer.frame_factor)

    def frames() -> Iterator[Tensor]:
        for frame in reader.frames(writer.copy):
            timeline.push(frame.pts)
            yield frame.rgb

    for index, rgb in enumerate(restorer.stream(frames(), **options)):
        writer.write(rgb, timeline.stamp(index))
    writer.close()


def time_job(job: Callable[..., Any], clip: Path, restorer: Any, options: dict[str, Any]) -> float:
    """Return the wall seconds of a job, from an open source to a finished file."""
    with tempfile.TemporaryDirectory() as folder, closing(VideoReader(clip)) as reader:
        target = OutputTarget(
            f"{folder}/out.mkv",
            reader,
            Encoding(),
            scale=restorer.scale,
            factor=restorer.frame_factor,
            overwrite=False,
        )
        start = time.perf_counter()
        job(reader, restorer, target.open, **options)
        return time.perf_counter() - start


def time_segments(clip: Path, restorer: Restorer, options: dict[str, Any]) -> float:
    """Return the wall seconds of a job in segments, from a closed source to a finished file."""
    with tempfile.TemporaryDirectory() as folder:
        request = JobRequest(
            source=InputSource(clip=str(clip), rate=Fraction(24)),
            output=f"{folder}/out.mkv",
            encoding=Encoding(),
            options=RestoreOptions(sigma_255=options["sigma_255"], cuts="off", tile_px=0),
        )
        start = time.perf_counter()
        job = SegmentedJob(request, restorer, Callbacks(JobEvents()))
        with job.folder:
            job.run()
        return time.perf_counter() - start


def main() -> None:
    """Compare them and print a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="wait", help="wait, or the name of a model")
    parser.add_argument("--ms", type=float, default=60, help="time for a frame with --network wait")
    parser.add_argument("--window", type=int, default=16, help="frames in a window with --network wait")
    parser.add_argument("--size", default="360x640", help="frame, HxW")
    parser.add_argument("--frames", type=int, default=90, help="length of the clip")
    parser.add_argument("--runs", type=int, default=5, help="runs of each")
    args = parser.parse_args()
    H, W = (int(x) for x in args.size.split("x"))
    options: dict[str, Any] = {"cuts": "off"}
    if args.network == "wait":
        restorer: Any = WaitingRestorer(args.window, args.ms / 1000)
    else:
        restorer = load_restorer(args.network, device="cpu", tile_px=0, cuts="off")
        options["sigma_255"] = 10.0 if restorer.needs_sigma else None
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mkv"
        make_clip(clip, args.frames, H, W)
        with closing(VideoReader(clip)) as reader:
            clip_frames = [frame.rgb for frame in reader.frames(lambda packet: None)]
        seconds: dict[str, list[float]] = {"network alone": [], "in one pass": [], "in turn": []}
        if args.network != "wait":
            seconds["in segments"] = []
        list(restorer.stream(clip_frames[:12], **options))  # warm-up
        for _ in range(args.runs):
            start = time.perf_counter()
            for _frame in restorer.stream(clip_frames, **options):
                pass
            seconds["network alone"].append(time.perf_counter() - start)
            seconds["in one pass"].append(time_job(run, clip, restorer, options))
            seconds["in turn"].append(time_job(run_in_turn, clip, restorer, options))
            if "in segments" in seconds:
                seconds["in segments"].append(time_segments(clip, restorer, options))
            print("  ", {name: round(runs[-1], 2) for name, runs in seconds.items()}, file=sys.stderr)
    others = [name for name in seconds if name != "network alone"]
    print("| network | clip | runs | network alone s |", *(f"{name} s | ratio |" for name in others))
    print("|---" * (4 + 2 * len(others)) + "|")
    alone = statistics.median(seconds["network alone"])
    row = f"| {args.network} | {args.frames}x{args.size} | {args.runs} | {alone:.2f} |"
    for name in others:
        ratio = statistics.median(b / a for a, b in zip(seconds["network alone"], seconds[name], strict=True))
        row += f" {statistics.median(seconds[name]):.2f} | {ratio:.3f} |"
    print(row)


if __name__ == "__main__":
    main()
