"""Frames from a reader through a restorer to a writer, in three threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from av.error import FFmpegError
from torch import Tensor

from vrt_core import Cancelled, Restorer
from vrt_core.hardware import DeviceStream
from vrt_media.clip import FrameReader, FrameWriter, MediaError
from vrt_media.timeline import Timeline

from .prefetch import BackgroundWriter, Prefetcher, max_waiting_frames


class Stopped(Exception):
    """The user stopped the job; the frames that were finished are in the output.

    Attributes:
        num_frames: Number of these frames.
    """

    def __init__(self, num_frames: int) -> None:
        super().__init__(f"stopped after {num_frames} frames")
        self.num_frames = num_frames


def run(
    reader: FrameReader,
    restorer: Restorer,
    open_writer: Callable[[], FrameWriter],
    *,
    on_frame: Callable[[int], object] = lambda _: None,
    check: Callable[[], object] = lambda: None,
    first_output: int = 0,
    stop_output: int | None = None,
    check_after: Callable[[int], object] = lambda _: None,
    **stream_options: Any,
) -> int:
    """Restore a clip, or a part of it.

    Frames are restored in the calling thread. A second thread decodes and converts to RGB some frames ahead; a third
    converts back and encodes some frames behind, so that the network waits for neither.

    Args:
        reader: Reads the clip.
        restorer: Restores it.
        open_writer: Opens the output; called once, before the first frame is restored.
        on_frame: Called with the number of finished frames after each, in the thread that writes.
        check: Called often; raises `vrt_core.Cancelled` to stop.
        first_output: Number of the first output frame to write.
        stop_output: Number of the frame before which to end; None for all.
        check_after: Called with the number of frames that were passed to the writer; may raise `Cancelled`, too.
        stream_options: Further arguments of `Restorer.stream`.

    Returns:
        The number of frames written, those before `first_output` included.

    Raises:
        Stopped: If `check` or Ctrl-C stopped the job. As after every other error, the writer is closed with the frames
            that were finished, or discarded if there are none. Frames before an error of the reader are restored.
    """
    info, scale = reader.info, restorer.scale
    timeline = Timeline(time_base=info.time_base, frame_duration=info.frame_duration, factor=restorer.frame_factor)
    writer = open_writer()
    read_stream, write_stream = DeviceStream(restorer.device), DeviceStream(restorer.device)
    output = BackgroundWriter(
        writer,
        depth=max_waiting_frames(scale * info.height, scale * info.width),
        stream=write_stream,
        on_frame=on_frame,
    )
    skip = restorer.first_frame_needed(first_output)
    inputs = Prefetcher(
        reader.frames(output.copy, skip=skip, on_skipped=timeline.push),
        depth=max_waiting_frames(info.height, info.width),
        stream=read_stream,
        check=check,
    )

    read_error: Exception | None = None

    def frames() -> Iterator[Tensor]:
        nonlocal read_error
        try:
            for frame in inputs:
                check()
                timeline.push(frame.pts)
                yield read_stream.record_stream(frame.rgb)
        except (MediaError, OSError, FFmpegError) as error:  # the frames before it are restored: the clip ends there
            read_error = error
            output.call(writer.cut_short)

    try:
        results = _stream(restorer, frames(), first_output, check=check, **stream_options)
        for index, rgb in enumerate(results, start=first_output):
            output.write(rgb, timeline.stamp(index))
            check()
            if index + 1 == stop_output:
                break
            check_after(index + 1)
        output.finish()
        if read_error is not None:
            raise read_error
    except (Cancelled, KeyboardInterrupt):
        try:
            output.finish()
        finally:
            _close_incomplete(writer)
        raise Stopped(writer.num_frames) from None
    except BaseException:
        with suppress(Exception):  # the first error is the one to report
            output.finish()
        with suppress(Exception):
            _close_incomplete(writer)
        raise
    finally:
        reader.stop()
        inputs.close()
    writer.close()
    return writer.num_frames


def _stream(restorer: Restorer, frames: Iterator[Tensor], first_output: int, **options: Any) -> Iterator[Tensor]:
    """Restore from an output frame on; nothing comes if the clip ends before it."""
    if not first_output:
        return restorer.stream(frames, **options)
    first = next(frames, None)
    if first is None:
        return iter(())
    return restorer.stream(chain([first], frames), first_output=first_output, **options)


def _close_incomplete(writer: FrameWriter) -> None:
    """Close the writer if it has frames, without the audio of the missing ones; else discard it."""
    if writer.num_frames:
        writer.close(complete=False)
    else:
        writer.discard()
