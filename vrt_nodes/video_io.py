"""ComfyUI's VIDEO as frames with time stamps, and temporary MP4 files to write frames to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy_api.latest import InputImpl

from ._bridge import audio, clip, colour, core, encoding, formats, output_plan, reader, writer
from .audio import WaveformTrack

if TYPE_CHECKING:
    from vrt_media.clip import TimedFrame
    from vrt_media.output_plan import OutputShape
    from vrt_media.reader import VideoReader
    from vrt_media.writer import VideoWriter

BT709 = colour.Colour(matrix=colour.BT709, full_range=False, primaries=1, transfer=1, siting=colour.LEFT)
"""Colour of everything that the nodes write."""
MAX_RATE = 1000
"""Frames per second; more than any camera's, so that time stamps fit into the fields of an MP4 file."""
NTSC_ROUNDING = Fraction(2, 10**6)
"""Relative difference between an NTSC rate, such as 24000/1001, and its usual decimal number."""
WarnUser = Callable[[str], object]


class TensorReader:
    """Reads a VIDEO that is in memory as tensors; a ``FrameReader``.

    Attributes:
        info: Size, rate and length of the clip.
    """

    def __init__(self, components: Any, warn_user: WarnUser) -> None:
        """Take the result of ``get_components``.

        Raises:
            InputError: If there is no frame.
        """
        images = components.images
        if images.dim() != 4 or 0 in images.shape or images.shape[-1] not in (3, 4):
            raise core.InputError(f"video holds frames of shape {tuple(images.shape)}, expected (frames, H, W, 3)")
        if images.shape[-1] == 4:
            warn_user("the video has an alpha channel, which is left out")
        self._images, self._audio, self._track = images, components.audio, None
        num_frames, height, width = images.shape[:3]
        rate = frame_rate(components.frame_rate)
        self.info = clip.ClipInfo(
            height=height,
            width=width,
            colour=BT709,
            pix_fmt="yuv420p",
            rate=rate,
            time_base=1 / rate,
            num_frames=num_frames,
        )

    def add_audio(self, output: VideoWriter) -> None:
        """Add the audio to a writer that has no frames yet; ``frames`` encodes it."""
        if self._audio is not None and self._audio["waveform"].numel():
            self._track = WaveformTrack(output, self._audio)

    def frames(self, on_packet: Callable[[Any], object]) -> Iterator[TimedFrame]:
        """Iterate over the frames, once; there are no packets."""
        for n, image in enumerate(self._images):  # (H, W, C)
            if self._track is not None:
                self._track.write_until((n + 1) / self.info.rate)
            yield clip.TimedFrame(image[..., :3].movedim(-1, 0).float(), n)  # (3, H, W)
        if self._track is not None:
            self._track.write_until(None)

    def close(self) -> None:
        """Do nothing: no file is open."""


def frame_rate(rate: Any) -> Fraction:
    """Return a rate of frames per second as a fraction that containers can store.

    Create Video turns its number, such as 23.976, into the fraction that the float is exactly, whose denominator takes
    48 bits. The usual decimal number of an NTSC rate becomes that rate.

    Raises:
        InputError: If it is no rate.
    """
    try:
        exact = Fraction(rate)
    except (TypeError, ValueError, OverflowError):
        exact = Fraction(0)
    if not 0 < exact <= MAX_RATE:
        raise core.InputError(f"video has a frame_rate of {rate}; it must be above 0 and at most {MAX_RATE} fps")
    ntsc = round(exact * Fraction(1001, 1000)) * Fraction(1000, 1001)
    is_ntsc = exact.denominator > 1 and abs(exact - ntsc) <= NTSC_ROUNDING * exact
    return ntsc if is_ntsc else exact.limit_denominator(1001) or Fraction(1, 1001)


@contextmanager
def open_video(video: Any, warn_user: WarnUser) -> Iterator[VideoReader | TensorReader]:
    """Open a VIDEO for reading, until the context ends.

    Only files are streamed, and only if they have no edits pending: other kinds of VIDEO encode themselves, with
    losses, when asked for a stream, or cannot.

    Args:
        video: ComfyUI's VIDEO.
        warn_user: Called with each thing that the user should know, but that does not stop the node.

    Raises:
        InputError: If the video cannot be read, when opened or later within the context.
    """
    has_edits = getattr(video, "has_pending_frame_edits", lambda: False)()
    if not isinstance(video, InputImpl.VideoFromFile) or has_edits:
        yield TensorReader(video.get_components(), warn_user)
        return
    start, duration = (
        Fraction(seconds).limit_denominator(10**6)
        for seconds in getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
    )
    trim = reader.Trim(start_seconds=start, stop_seconds=start + duration if duration else None)
    try:
        options = formats.self_contained_options()
        file = reader.VideoReader(video.get_stream_source(), trim, on_note=warn_user, options=options)
        try:
            if file.is_hdr:
                warn_user("the video is HDR: it is worked on as it is and tagged BT.709, so convert it to SDR first")
            elif (bits := encoding.bit_depth(file.info.pix_fmt)) > 8:
                warn_user(f"the video has {bits} bits a channel, the result has 8: `vrt restore` keeps them")
            yield file
        finally:
            file.close()
    except clip.MediaError as error:
        raise core.InputError(f"video cannot be read: {error}") from error


def open_writer(
    path: Path, source: VideoReader | TensorReader, shape: OutputShape, crf: float, warn_user: WarnUser
) -> VideoWriter:
    """Open an MP4 file for frames made from a video, with its audio: H.264 in 4:2:0, or 4:4:4 for odd sizes.

    Use it in a ``with``: an exception, a cancel included, leaves no file.

    Args:
        path: File.
        source: The video.
        shape: Size and rate of the frames.
        crf: Quality, 0 to 51.
        warn_user: Called with each audio stream that is left out.
    """
    streams = [] if isinstance(source, TensorReader) else [s for s in source.copied_streams if s.type == "audio"]
    for stream in streams:
        if note := audio.conversion_note(stream.codec_context):
            warn_user(f"audio stream {stream.index}: {note}")
    plan = output_plan.plan_output(
        path,
        replace(source.info, colour=BT709, pix_fmt="yuv420p", mastering=None),
        shape,
        encoding.Encoding(codec="libx264", crf=crf),
        streams=streams,
        encode_audio=True,
        crash_safe=False,
    )
    for line in plan.left_out:
        warn_user(f"left out: {line}")
    output = writer.VideoWriter(plan)
    if isinstance(source, TensorReader):
        try:
            source.add_audio(output)
        except BaseException:
            output.discard()
            raise
    return output


def temporary_file(name: str, suffix: str, width: int = 0, height: int = 0) -> Path:
    """Return a free path in ComfyUI's temporary folder, which lives as long as its cache."""
    folder, stem, counter, _, _ = folder_paths.get_save_image_path(
        f"vrt/{name}", folder_paths.get_temp_directory(), width, height
    )
    return Path(folder) / f"{stem}_{counter:05}_{suffix}"
