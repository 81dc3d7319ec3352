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

from ._bridge import clip, colour, core, encoding, reader, writer
from .audio import WaveformTrack

if TYPE_CHECKING:
    from vrt_media.clip import TimedFrame
    from vrt_media.reader import VideoReader
    from vrt_media.writer import OutputShape, VideoWriter

BT709 = colour.Colour(matrix=colour.BT709, full_range=False, primaries=1, transfer=1, siting=colour.LEFT)
"""Colour of everything that the nodes write."""
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
        rate = Fraction(components.frame_rate)
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
        file = reader.VideoReader(video.get_stream_source(), trim, on_note=warn_user)
        try:
            if file.is_hdr:
                warn_user("the video is HDR: it is worked on as it is and tagged BT.709, so convert it to SDR first")
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
    streams = [] if isinstance(source, TensorReader) else source.copied_streams
    output = writer.VideoWriter(
        path,
        replace(source.info, colour=BT709, pix_fmt="yuv420p", mastering=None),
        shape,
        encoding.Encoding(codec="libx264", crf=crf),
        streams=[stream for stream in streams if stream.type == "audio"],
        encode_audio=True,
        crash_safe=False,
    )
    for line in output.left_out:
        warn_user(f"left out: {line}")
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
