"""What `-o` means: a video, a y4m pipe, a folder of images, or one image; and what may be overwritten."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av

from vrt_media.clip import IMAGE_SUFFIXES, MediaError, Sink, Source
from vrt_media.encoding import Encoding
from vrt_media.images import CODECS, ImageSink, ImageSource
from vrt_media.reader import VideoSource
from vrt_media.writer import OutputShape, VideoSink

if TYPE_CHECKING:
    from .job import Streamer


def is_folder(output: str) -> bool:
    """Whether images go into a folder of that name: it is one, or has no suffix."""
    return output != "-" and (Path(output).is_dir() or output.endswith("/") or not Path(output).suffix)


def check_output(output: str, clip: str, *, overwrite: bool) -> None:
    """Refuse inputs that are not there and outputs that would destroy something, before any work is done.

    Raises:
        MediaError: If the input is missing, or if the output is the input, is there already (and `overwrite` is not
            set), or cannot be made.
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


class Output:
    """The output of one job, opened when the first frame is known to come.

    Attributes:
        name: For messages.
        description: Encoder and format, once open.
        left_out: One line per stream that the output cannot hold, once open.
    """

    def __init__(self, output: str, source: Source, restorer: "Streamer", encoding: Encoding) -> None:
        self._output, self._source, self._encoding = output, source, encoding
        facts = source.facts
        self._shape = OutputShape(
            height=facts.height * restorer.scale,
            width=facts.width * restorer.scale,
            rate=facts.rate * restorer.frame_factor,
            time_base=facts.time_base / restorer.frame_factor,
        )
        self._factor = restorer.frame_factor
        self.name = "standard output" if output == "-" else output
        self.description = ""
        self.left_out: list[str] = []

    def open(self) -> Sink:
        """Open it.

        Raises:
            MediaError: If format, encoder and container do not fit.
        """
        size = f"{self._shape.width}x{self._shape.height}"
        single = self._output != "-" and Path(self._output).suffix.lower() in CODECS
        if self._output != "-" and (is_folder(self._output) or single):
            frames = (self._source.facts.num_frames or 1) * self._factor
            if single and frames > 1 and not is_folder(self._output):
                raise MediaError(f"{self._output} can hold one frame, not {frames}; give a folder, or --frames 1")
            deep = max(c.bits for c in av.VideoFormat(self._source.facts.pix_fmt, 16, 16).components) > 8
            self.description = f"{size}, {16 if deep else 8}-bit images"
            return ImageSink(Path(self._output), names=self._names(), deep=deep)
        video = self._source if isinstance(self._source, VideoSource) else None
        sink = VideoSink(
            self._output,
            self._source.facts,
            self._shape,
            self._encoding,
            copied=video.copied if video else (),
            metadata=video.metadata if video else None,
            chapters=video.chapters if video else (),
        )
        others = video.left_out if video else []
        self.left_out = sink.left_out + [f"{s.type} stream {s.index}" for s in others]
        encoder = "y4m" if self._output == "-" else self._encoding.codec
        self.description = f"{size} {sink.pix_fmt}, {encoder}"
        return sink

    def _names(self) -> Iterator[str]:
        """Image names: those of the source's images, or numbers if there are none or not enough."""
        if isinstance(self._source, ImageSource) and self._factor == 1:
            return iter(self._source.names)
        return (f"{n:06d}" for n in itertools.count())
