"""The output that `-o` names: a video, a y4m pipe, a folder of images, or one image."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from vrt_media.clip import IMAGE_SUFFIXES, FrameReader, FrameWriter, MediaError
from vrt_media.container import count_packets
from vrt_media.disk_space import estimate_bytes, shortage
from vrt_media.encoding import Encoding, bit_depth, is_float
from vrt_media.image_writer import CODECS, ImageWriter, SingleImageWriter
from vrt_media.images import ImageReader
from vrt_media.output_plan import OutputPlan, OutputShape, plan_output
from vrt_media.part_file import MAX_NAME_BYTES
from vrt_media.reader import VideoReader
from vrt_media.writer import VideoWriter

from .spill import frame_bytes
from .texts import count

NOTHING = "nothing was written"


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
    """The output of one restoration: opened for one pass, or planned for a job in segments.

    Attributes:
        shape: Size, rate and time base of the output.
        factor: Output frames per input frame.
        description: Encoder and format, once opened or planned.
        left_out: What the output cannot hold; likewise.
        notes: What the user should know beside that: too little space; likewise.
    """

    def __init__(
        self, output: str, reader: FrameReader, encoding: Encoding, *, scale: int, factor: int, overwrite: bool
    ) -> None:
        """Describe the output.

        Args:
            output: File, folder of images, or "-".
            reader: Source.
            encoding: Encoder of a video.
            scale: Output height over input height.
            factor: Output frames per input frame.
            overwrite: Whether files of the same names are replaced.
        """
        self._output, self._reader, self._encoding, self._overwrite = output, reader, encoding, overwrite
        self.factor = factor
        self.shape = OutputShape(
            height=reader.info.height * scale,
            width=reader.info.width * scale,
            rate=reader.info.rate * factor,
            time_base=reader.info.time_base / factor,
        )
        self.description = ""
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self._writer: FrameWriter | None = None

    @property
    def path(self) -> Path:
        """File or folder."""
        return Path(self._output)

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder of images."""
        return is_folder(self._output)

    @property
    def is_deep(self) -> bool:
        """Whether images get 16 bits per channel."""
        return bit_depth(self._reader.info.pix_fmt) > 8

    @property
    def image_suffix(self) -> str:
        """Suffix of the images of a folder."""
        default = "exr" if is_float(self._reader.info.pix_fmt) else "png"
        return f".{self._encoding.image_format or default}"

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
            return f"{count(num_frames, 'frame')}{place}" if place else NOTHING
        if isinstance(writer, VideoWriter):  # frames that wait in the encoder may be lost with the disk
            num_frames = count_packets(result)
        return f"{count(num_frames, 'frame')} kept in {result}"

    def open(self) -> FrameWriter:
        """Open the output for one pass.

        Raises:
            MediaError: If format, encoder and container do not fit each other, or if an input would be replaced.
        """
        is_image = self._output != "-" and self.path.suffix.lower() in CODECS
        if self.is_folder:
            names = map(self.plan_images(), itertools.count())
            self._writer = ImageWriter(
                self.path, names=names, deep=self.is_deep, overwrite=self._overwrite, suffix=self.image_suffix
            )
        elif is_image:
            self._writer = self._open_image()
        else:
            plan = self.plan_video()
            self.check_space(plan)
            self._writer = VideoWriter(plan, overwrite=self._overwrite)
        return self._writer

    def plan_images(self) -> Callable[[int], str]:
        """Return the names of the images of a folder, by the number of the frame.

        Raises:
            MediaError: If an input would be replaced.
        """
        names = self._names_of_images()
        suffix = self.image_suffix
        self._plan_images([self.path / f"{name}{suffix}" for name in names], suffix)
        return names.__getitem__ if names else "{:06d}".format

    def plan_video(self) -> OutputPlan:
        """Plan and rehearse a video.

        Raises:
            MediaError: If format, encoder and container do not fit each other.
        """
        video = self._reader if isinstance(self._reader, VideoReader) else None
        plan = plan_output(
            self._output,
            self._reader.info,
            self.shape,
            self._encoding,
            streams=video.copied_streams if video else (),
            metadata=video.metadata if video else None,
            chapters=video.chapters if video else (),
            attachments=video.attachments if video else (),
        )
        others = video.other_streams if video else []
        self.left_out = [*plan.left_out, *(f"{s.type} stream {s.index}" for s in others)]
        encoder = "y4m" if plan.mux.is_y4m else plan.mux.codec
        self.description = f"{self.shape.width}x{self.shape.height} {plan.mux.pix_fmt}, {encoder}"
        return plan

    def check_space(self, plan: OutputPlan, *, copies: int = 1, segment_frames: int = 0) -> None:
        """Take a note if the disk has less space than a video may take.

        Args:
            plan: The video.
            copies: How often it lies on the disk at the same time.
            segment_frames: Frames that lie there beside it, as the encoder gets them.
        """
        waiting = min(segment_frames, (self._reader.info.num_frames or 0) * self.factor)
        self._note_shortage(
            copies * self._estimate_bytes(plan.mux.codec, plan.mux.pix_fmt) + waiting * frame_bytes(plan.mux)
        )

    def _open_image(self) -> SingleImageWriter:
        num_frames = (self._reader.info.num_frames or 1) * self.factor
        if num_frames > 1:
            raise MediaError(f"{self._output} can hold one frame, not {num_frames}; give a folder, or --frames 1")
        self._plan_images([self.path], self.path.suffix.lower())
        return SingleImageWriter(self.path, deep=self.is_deep, overwrite=self._overwrite)

    def _plan_images(self, paths: list[Path], suffix: str) -> None:
        """Describe the images, and check their names and the space for them."""
        kind = "floating-point" if suffix == ".exr" else f"{16 if self.is_deep else 8}-bit"
        self.description = f"{self.shape.width}x{self.shape.height}, {kind} images"
        self.left_out = [*self._reader.info.lost_side_data]
        self._check_inputs(paths)
        self._note_shortage(self._estimate_bytes(CODECS[suffix], "rgb48le" if self.is_deep else "rgb24"))

    def _names_of_images(self) -> list[str]:
        """Return a name for each image of an input of images: those of the input if there are as many, else numbers."""
        if not isinstance(self._reader, ImageReader):
            return []
        names = self._reader.names
        return names if self.factor == 1 else [f"{n:06d}" for n in range(len(names) * self.factor)]

    def _check_inputs(self, outputs: list[Path]) -> None:
        """Check that no output is an input, whatever their names."""
        inputs = {file_id(path) for path in self._reader.paths} if isinstance(self._reader, ImageReader) else set()
        for path in outputs:
            check_name(path)
            if path.exists() and file_id(path) in inputs:
                raise MediaError(f"{path} is the input; choose another name")

    def _estimate_bytes(self, codec: str, pix_fmt: str) -> int:
        num_frames = (self._reader.info.num_frames or 0) * self.factor
        return estimate_bytes(codec, pix_fmt, self.shape.height, self.shape.width, num_frames)

    def _note_shortage(self, num_bytes: int) -> None:
        if self._output == "-" or self._reader.info.num_frames is None:
            return
        note = shortage(self.path.absolute().parent, num_bytes)
        self.notes += [note] if note else []


def file_id(path: Path) -> tuple[int, int]:
    """Return what tells a file from all others on this machine."""
    status = path.stat()
    return status.st_dev, status.st_ino
