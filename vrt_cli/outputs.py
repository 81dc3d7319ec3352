"""The output that `-o` names: a video, a y4m pipe, a folder of images, or one image."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av

from vrt_media.clip import IMAGE_SUFFIXES, FrameReader, FrameWriter, MediaError
from vrt_media.encoding import Encoding
from vrt_media.images import CODECS, ImageReader, ImageWriter
from vrt_media.reader import VideoReader
from vrt_media.writer import OutputShape, VideoWriter

if TYPE_CHECKING:
    from vrt_core import Restorer


def is_folder(output: str) -> bool:
    """Return whether an output is a folder of images: it is a folder already, or has no suffix."""
    return output != "-" and (Path(output).is_dir() or output.endswith("/") or not Path(output).suffix)


def check_output(output: str, clip: str, *, overwrite: bool) -> None:
    """Check that the input exists and that the output destroys nothing, before any work is done.

    Raises:
        MediaError: If the input is missing, or if the output is the input, exists already (without `overwrite`), or
            cannot be created.
    """
    if clip != "-" and "://" not in clip and not Path(clip).exists():
        raise MediaError(f"{clip}: no such file or folder")
    if output == "-":
        if sys.stdout.isatty():
            raise MediaError("-o - writes y4m to standard output, which is a terminal: pipe it into an encoder")
        return
    path = Path(output)
    if clip != "-" and path.exists() and Path(clip).exists() and path.samefile(clip):
        raise MediaError(f"{output} is the input; choose another name")
    if is_folder(output):
        if path.is_dir() and not overwrite and any(p.suffix.lower() in IMAGE_SUFFIXES for p in path.iterdir()):
            raise MediaError(f"{output} holds images already; -y writes over those of the same names")
        if path.exists() and not path.is_dir():
            raise MediaError(f"{output} is a file; a name without suffix stands for a folder of images")
        return
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES and suffix not in CODECS:
        raise MediaError(f"{output}: images are written as {', '.join(CODECS)}")
    if path.exists() and not overwrite:
        raise MediaError(f"{output} is there already; -y replaces it")
    if not path.parent.is_dir():
        raise MediaError(f"{output}: there is no folder {path.parent}; make it first")


class OutputTarget:
    """The output of one job; opened when the first frame is about to be restored.

    Attributes:
        name: Name for messages.
        description: Encoder and format, once open.
        left_out: One line for each stream that the output cannot hold, once open.
    """

    def __init__(self, output: str, reader: FrameReader, restorer: "Restorer", encoding: Encoding) -> None:
        self._output, self._reader, self._encoding = output, reader, encoding
        self._factor = restorer.frame_factor
        self._shape = OutputShape(
            height=reader.info.height * restorer.scale,
            width=reader.info.width * restorer.scale,
            rate=reader.info.rate * self._factor,
            time_base=reader.info.time_base / self._factor,
        )
        self.name = "standard output" if output == "-" else output
        self.description = ""
        self.left_out: list[str] = []

    def open(self) -> FrameWriter:
        """Open the output.

        Raises:
            MediaError: If format, encoder and container do not fit each other.
        """
        is_image = self._output != "-" and Path(self._output).suffix.lower() in CODECS
        if is_folder(self._output) or is_image:
            return self._open_images(single=is_image and not is_folder(self._output))
        return self._open_video()

    def _open_images(self, single: bool) -> ImageWriter:
        info = self._reader.info
        num_frames = (info.num_frames or 1) * self._factor
        if single and num_frames > 1:
            raise MediaError(f"{self._output} can hold one frame, not {num_frames}; give a folder, or --frames 1")
        is_deep = max(c.bits for c in av.VideoFormat(info.pix_fmt, 16, 16).components) > 8
        self.description = f"{self._shape.width}x{self._shape.height}, {16 if is_deep else 8}-bit images"
        return ImageWriter(Path(self._output), names=self._image_names(), deep=is_deep)

    def _open_video(self) -> VideoWriter:
        video = self._reader if isinstance(self._reader, VideoReader) else None
        writer = VideoWriter(
            self._output,
            self._reader.info,
            self._shape,
            self._encoding,
            streams=video.copied_streams if video else (),
            metadata=video.metadata if video else None,
            chapters=video.chapters if video else (),
        )
        others = video.other_streams if video else []
        self.left_out = writer.left_out + [f"{s.type} stream {s.index}" for s in others]
        encoder = "y4m" if self._output == "-" else self._encoding.codec
        self.description = f"{self._shape.width}x{self._shape.height} {writer.pix_fmt}, {encoder}"
        return writer

    def _image_names(self) -> Iterator[str]:
        """Return names for the images: those of the input's images if there are as many, else numbers."""
        if isinstance(self._reader, ImageReader) and self._factor == 1:
            return iter(self._reader.names)
        return (f"{n:06d}" for n in itertools.count())
