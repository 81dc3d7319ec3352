"""ComfyUI's VIDEO as frames with time stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from comfy_api.latest import InputImpl

from ._bridge import clip, colour, core, formats, reader
from .audio import WaveformTrack

if TYPE_CHECKING:
    from vrt_media.clip import TimedFrame
    from vrt_media.colour import Colour
    from vrt_media.reader import VideoReader
    from vrt_media.writer import VideoWriter

BT709 = colour.Colour(matrix=colour.BT709, full_range=False, primaries=1, transfer=1, siting=colour.LEFT)
"""Colour of everything that the nodes write, but HDR."""
HDR_TRANSFERS = {"HDR": colour.HLG, "HDR PQ": colour.PQ}
"""Transfers of ComfyUI's colour spaces for HDR, which are BT.2020."""
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

    def __init__(self, components: Any, warn_user: WarnUser, *, bit_depth: int = 8, colour_space: str = "sRGB") -> None:
        """Take the result of ``get_components``.

        Args:
            components: Images, audio and rate.
            warn_user: Called with what is left out.
            bit_depth: Bits of a channel that the video is to have in a file.
            colour_space: ComfyUI's name of the colour space of the images.

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
            colour=colour_of_space(colour_space),
            pix_fmt="yuv420p10le" if bit_depth > 8 or colour_space in HDR_TRANSFERS else "yuv420p",
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


def colour_of_space(name: str) -> Colour:
    """Return the colour in which a video of one of ComfyUI's colour spaces is encoded."""
    if name not in HDR_TRANSFERS:
        return BT709
    return replace(BT709, matrix=colour.BT2020, primaries=colour.BT2020, transfer=HDR_TRANSFERS[name])


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


def trim_window(video: Any) -> tuple[float, float]:
    """Return start and duration of the trim of a VIDEO from a file, in seconds; a duration of 0 is up to the end.

    Versions between Trim Video and `get_active_trim_window` keep them to themselves; a negative start counts from the
    end.
    """
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    start, duration = (getattr(video, f"_VideoFromFile__{name}", None) or 0.0 for name in ("start_time", "duration"))
    if start < 0:
        start = max(video._get_raw_duration() + start, 0.0)
    return start, duration


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
        yield TensorReader(
            video.get_components(),
            warn_user,
            bit_depth=getattr(video, "get_bit_depth", lambda: 8)(),
            colour_space=getattr(video, "get_color_space", lambda: "sRGB")(),
        )
        return
    start, duration = (Fraction(seconds).limit_denominator(10**6) for seconds in trim_window(video))
    trim = reader.Trim(start_seconds=start, stop_seconds=start + duration if duration else None)
    try:
        options = formats.self_contained_options()
        file = reader.VideoReader(video.get_stream_source(), trim, on_note=warn_user, options=options)
        try:
            yield file
        finally:
            file.close()
    except clip.MediaError as error:
        raise core.InputError(f"video cannot be read: {error}") from error
