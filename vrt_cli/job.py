"""From a source through the restorer to a sink: three threads, and each frame in its turn."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor

from vrt_core import Cancelled, Lane
from vrt_media.clip import Sink, Source
from vrt_media.timeline import Timeline

from .prefetch import Ahead, Behind, frames_at_a_time


class Streamer(Protocol):
    """What is used of `vrt_core.Restorer`; a chain of models has it too."""

    scale: int
    """Output height over input height."""
    frame_factor: int
    """Output frames per input frame."""
    device: torch.device
    """Where it works."""

    def stream(
        self,
        frames: Iterable[Tensor],
        *,
        sigma_255: float | None = None,
        cuts: Any = "auto",
        on_step: Callable[[int, int | None], object] | None = None,
        check: Callable[[], object] | None = None,
    ) -> Iterator[Tensor]:
        """Frames in, restored frames out."""
        ...


class Stopped(Exception):
    """The user stopped the work; what was finished is kept.

    Attributes:
        num_frames: Frames that are in the output.
    """

    def __init__(self, num_frames: int) -> None:
        super().__init__(f"stopped after {num_frames} frames")
        self.num_frames = num_frames


def run(
    source: Source,
    restorer: Streamer,
    make_sink: Callable[[], Sink],
    *,
    on_frame: Callable[[int], object] = lambda _: None,
    check: Callable[[], object] = lambda: None,
    **options: Any,
) -> int:
    """Restore a whole clip.

    Frames are restored in this thread. Reading, decoding and conversion to RGB go on some frames ahead in a second one,
    conversion back and encoding some frames behind in a third, so that the network waits for neither.

    Args:
        source: Where frames come from.
        restorer: What restores them.
        make_sink: Opens the output; called once, before the first frame is restored.
        on_frame: Told the number of finished frames after each, in the thread that writes.
        check: Called often; raises `vrt_core.Cancelled` to stop.
        options: For `restorer.stream`: sigma_255, cuts, on_step.

    Returns:
        The number of frames written.

    Raises:
        Stopped: If `check` or Ctrl-C stopped it. As after every other error, the sink is closed with the frames that
            were finished, or discarded if there are none.
    """
    facts = source.facts
    timeline = Timeline(time_base=facts.time_base, frame_duration=facts.frame_duration, factor=restorer.frame_factor)
    sink = make_sink()
    size, scale = (facts.height, facts.width), restorer.scale
    reading, writing = Lane(restorer.device), Lane(restorer.device)
    behind = Behind(sink, depth=frames_at_a_time(*(scale * s for s in size)), lane=writing, on_frame=on_frame)
    ahead = Ahead(source.pictures(behind.copy), depth=frames_at_a_time(*size), lane=reading, check=check)

    def frames() -> Iterator[Tensor]:
        for picture in ahead:
            check()
            timeline.push(picture.pts)
            yield reading.hand_over(picture.rgb)

    try:
        for index, rgb in enumerate(restorer.stream(frames(), check=check, **options)):
            behind.write(rgb, timeline.stamp(index))
            check()
        behind.finish()
    except (Cancelled, KeyboardInterrupt):
        try:
            behind.finish()
        finally:
            _keep(sink)
        raise Stopped(sink.num_frames) from None
    except BaseException:
        with suppress(Exception):  # the first error is the one to report
            behind.finish()
        with suppress(Exception):
            _keep(sink)
        raise
    finally:
        ahead.close()
    sink.close()
    return sink.num_frames


def _keep(sink: Sink) -> None:
    """Close the sink if there is something in it, without the sound of frames that are missing."""
    if sink.num_frames:
        sink.close(whole=False)
    else:
        sink.discard()
