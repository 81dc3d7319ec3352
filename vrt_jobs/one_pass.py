"""Restoration in one pass, for inputs and outputs that cannot be read or written again: pipes, addresses, one image."""

from __future__ import annotations

from contextlib import closing

from vrt_core import Restorer
from vrt_media.clip import FrameReader, FrameWriter
from vrt_media.reader import VideoReader

from .callbacks import Callbacks, Result
from .events import JobEvents, Start
from .outputs import OutputTarget
from .pipeline import run
from .request import JobRequest


class OnePass:
    """A restoration in one pass.

    Attributes:
        target: The output.
        reader: The input.
    """

    def __init__(self, request: JobRequest, restorer: Restorer, callbacks: Callbacks) -> None:
        """Open the input."""
        self._request, self._restorer, self._callbacks = request, restorer, callbacks
        self.reader = request.source.open(restorer.device, on_note=callbacks.events.on_warning)
        self.target = make_target(request, self.reader, restorer)

    def run(self) -> Result:
        """Restore the clip.

        Raises:
            Stopped: If a callback stopped it; what is finished is in the output.
        """
        callbacks = self._callbacks
        with closing(self.reader) as reader:
            num_frames = run(
                reader,
                self._restorer,
                self._open_writer,
                on_frame=callbacks.events.on_frame,
                check=callbacks.check,
                on_step=callbacks.events.on_step,
                sigma_255=self._request.options.sigma_255,
            )
        return Result(num_frames, self.target.name, damage_of(reader))

    @property
    def damage(self) -> tuple[str, ...]:
        """One line for each kind of damaged frames, of those that were read."""
        return damage_of(self.reader)

    def describe_rest(self) -> str:
        """Return what a restoration that ended early has left."""
        return self.target.describe_result()

    def _open_writer(self) -> FrameWriter:
        writer = self.target.open()
        tell_start(self._callbacks.events, self._request, self._restorer, self.reader, self.target)
        return writer


def make_target(request: JobRequest, reader: FrameReader, restorer: Restorer) -> OutputTarget:
    """Describe the output of a request."""
    return OutputTarget(
        request.output,
        reader,
        request.encoding,
        scale=restorer.scale,
        factor=restorer.frame_factor,
        overwrite=request.overwrite,
    )


def tell_start(
    events: JobEvents,
    request: JobRequest,
    restorer: Restorer,
    reader: FrameReader,
    target: OutputTarget,
    *,
    num_finished: int = 0,
    device: str | None = None,
) -> None:
    """Report the start of a restoration; `device` is what computes, if it is not that of the restorer."""
    total = reader.info.num_frames
    events.on_start(
        Start(
            input=request.source.clip,
            output=request.output,
            model=restorer.name,
            device=device or str(restorer.device),
            info=reader.info,
            description=target.description,
            num_frames=None if total is None else total * restorer.frame_factor,
            num_finished=num_finished,
        )
    )
    for line in target.left_out:
        events.on_left_out(line)
    for line in target.notes:
        events.on_warning(line)


def damage_of(reader: FrameReader) -> tuple[str, ...]:
    """Return one line for each kind of damaged frames."""
    return tuple(reader.damage.lines()) if isinstance(reader, VideoReader) else ()
