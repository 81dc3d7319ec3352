"""The output that `-o` names: a video, a y4m pipe, a folder of images, or one image."""

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vrt_media.clip import IMAGE_SUFFIXES, FrameReader, FrameWriter, MediaError
from vrt_media.container import count_packets
from vrt_media.disk_space import estimate_bytes, shortage
from vrt_media.encoding import Encoding, bit_depth
from vrt_media.image_writer import CODECS, ImageWriter, SingleImageWriter
from vrt_media.images import ImageReader
from vrt_media.part_file import MAX_NAME_BYTES
from vrt_media.reader import VideoReader
from vrt_media.writer import OutputShape, VideoWriter

from .progress import count

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
        if sys.stdout is None:
            raise MediaError("-o - writes y4m to standard output, which is closed")
        if sys.stdout.isatty():
            raise MediaError("-o - writes y4m to standard output, which is a terminal: pipe it into an encoder")
        return
    path = Path(output)
    check_name(path)
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
    if os.path.lexists(path) and not overwrite:  # a link that leads nowhere is there, too
        raise MediaError(f"{output} is there already; -y replaces it")
    if not path.parent.is_dir():
        raise MediaError(f"{output}: there is no folder {path.parent}; make it first")


def check_name(path: Path) -> None:
    """Check that a file system can hold a file of that name.

    Raises:
        MediaError: If it is too long.
    """
    num_bytes = len(os.fsencode(path.name))
    if num_bytes > MAX_NAME_BYTES:
        raise MediaError(f"{path}: its name has {num_bytes} bytes, and file systems take {MAX_NAME_BYTES}")


class OutputTarget:
    """The output of one job; opened when the first frame is about to be restored.

    Attributes:
        description: Encoder and format, once open.
        notes: What the user should know: streams that the output cannot hold, and too little space; once open.
    """

    def __init__(
        self, output: str, reader: FrameReader, restorer: "Restorer", encoding: Encoding, *, overwrite: bool
    ) -> None:
        self._output, self._reader, self._encoding, self._overwrite = output, reader, encoding, overwrite
        self._factor = restorer.frame_factor
        self._shape = OutputShape(
            height=reader.info.height * restorer.scale,
            width=reader.info.width * restorer.scale,
            rate=reader.info.rate * self._factor,
            time_base=reader.info.time_base / self._factor,
        )
        self.description = ""
        self.notes: list[str] = []
        self._writer: FrameWriter | None = None

    @property
    def name(self) -> str:
        """Where the frames are, for messages."""
        result = self._writer.result if self._writer else None
        return str(result) if result else "standard output" if self._output == "-" else self._output

    def describe_result(self) -> str:
        """Return how many frames can be read from what was written, and where they are."""
        writer, result = self._writer, self._writer.result if self._writer else None
        num_frames = writer.num_frames if writer else 0
        if result is None:
            place = f" written to {self.name}" if num_frames else ""
            return f"{count(num_frames, 'frame')}{place}" if place else "nothing was written"
        if isinstance(writer, VideoWriter):  # frames that wait in the encoder may be lost with the disk
            num_frames = count_packets(result)
        return f"{count(num_frames, 'frame')} kept in {result}"

    def open(self) -> FrameWriter:
        """Open the output.

        Raises:
            MediaError: If format, encoder and container do not fit each other, or if an input would be replaced.
        """
        is_image = self._output != "-" and Path(self._output).suffix.lower() in CODECS
        if is_folder(self._output) or is_image:
            self._writer = self._open_images(single=is_image and not is_folder(self._output))
        else:
            self._writer = self._open_video()
        return self._writer

    def _open_images(self, single: bool) -> ImageWriter | SingleImageWriter:
        info = self._reader.info
        num_frames = (info.num_frames or 1) * self._factor
        if single and num_frames > 1:
            raise MediaError(f"{self._output} can hold one frame, not {num_frames}; give a folder, or --frames 1")
        is_deep = bit_depth(info.pix_fmt) > 8
        self.description = f"{self._shape.width}x{self._shape.height}, {16 if is_deep else 8}-bit images"
        path = Path(self._output)
        self._check_inputs([path] if single else [path / f"{name}.png" for name in self._names_of_images()])
        self._check_space(CODECS[path.suffix.lower() if single else ".png"], "rgb48le" if is_deep else "rgb24")
        if single:
            return SingleImageWriter(path, deep=is_deep, overwrite=self._overwrite)
        names = self._names_of_images() or (f"{n:06d}" for n in itertools.count())
        return ImageWriter(path, names=iter(names), deep=is_deep, overwrite=self._overwrite)

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
            attachments=video.attachments if video else (),
            overwrite=self._overwrite,
        )
        others = video.other_streams if video else []
        left_out = writer.left_out + [f"{s.type} stream {s.index}" for s in others]
        self.notes += [f"left out: {line}" for line in left_out]
        self._check_space(writer.codec, writer.pix_fmt)
        encoder = "y4m" if writer.codec == "wrapped_avframe" else writer.codec
        self.description = f"{self._shape.width}x{self._shape.height} {writer.pix_fmt}, {encoder}"
        return writer

    def _names_of_images(self) -> list[str]:
        """Return a name for each image of an input of images: those of the input if there are as many, else numbers."""
        if not isinstance(self._reader, ImageReader):
            return []
        names = self._reader.names
        return names if self._factor == 1 else [f"{n:06d}" for n in range(len(names) * self._factor)]

    def _check_inputs(self, outputs: list[Path]) -> None:
        """Check that no output is an input, whatever their names."""
        inputs = {file_id(path) for path in self._reader.paths} if isinstance(self._reader, ImageReader) else set()
        for path in outputs:
            check_name(path)
            if path.exists() and file_id(path) in inputs:
                raise MediaError(f"{path} is the input; choose another name")

    def _check_space(self, codec: str, pix_fmt: str) -> None:
        num_frames = self._reader.info.num_frames
        if self._output == "-" or num_frames is None:
            return
        size = estimate_bytes(codec, pix_fmt, self._shape.height, self._shape.width, num_frames * self._factor)
        note = shortage(Path(self._output).absolute().parent, size)
        self.notes += [note] if note else []


def file_id(path: Path) -> tuple[int, int]:
    """Return what tells a file from all others on this machine."""
    status = path.stat()
    return status.st_dev, status.st_ino
