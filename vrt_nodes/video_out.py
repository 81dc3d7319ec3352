"""An MP4 in the making: H.264, BT.709 and tagged so; gone if it is not finished."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import folder_paths
from torch import Tensor

from ._bridge import colour, planes

CODEC, PRESET = "libx264", "medium"
COLOUR = colour.Colour(matrix=colour.BT709, full_range=False, primaries=1, transfer=1, siting=colour.LEFT)


class VideoWriter:
    """Use it in a ``with``: what leaves that by an exception, a cancel included, leaves no file behind.

    Attributes:
        path: Of the file.
        container: For sound tracks, before the first frame.
    """

    def __init__(
        self,
        path: Path,
        *,
        height: int,
        width: int,
        rate: Fraction,
        time_base: Fraction,
        aspect: Fraction,
        crf: float,
    ) -> None:
        """Open the file, and write nothing yet.

        Args:
            path: Ends in .mp4.
            height: Of the frames. Odd sizes are kept, in 4:4:4.
            width: Likewise.
            rate: Frames per second, on average.
            time_base: Seconds per unit of the stamps.
            aspect: Width of a pixel over its height.
            crf: Quality, 0 to 51.
        """
        self.path, self._time_base = path, time_base
        self._pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        self.container: Any = av.open(str(path), "w")
        try:
            self._stream = self.container.add_stream(CODEC, rate=rate, options={"crf": f"{crf:g}", "preset": PRESET})
            self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, self._pix_fmt
            context = self._stream.codec_context
            context.time_base, context.sample_aspect_ratio = time_base, aspect
            context.colorspace, context.color_range = COLOUR.matrix, colour.LIMITED
            context.color_primaries, context.color_trc = COLOUR.primaries, COLOUR.transfer
        except BaseException:
            self._discard()
            raise

    def write(self, rgb: Tensor, stamp: int) -> None:
        """Encode a frame, (3, H, W), nominally in [0, 1]; its time is in units of the time base."""
        frame = planes.write_rgb(rgb, self._pix_fmt, COLOUR)
        frame.pts, frame.time_base = stamp, self._time_base
        self.container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self.container.mux(self._stream.encode(None))
            self.container.close()
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        with suppress(Exception):  # an unfinished file may not close; the first error is the one to report
            self.container.close()
        self.path.unlink(missing_ok=True)


def temporary_file(name: str, suffix: str, width: int = 0, height: int = 0) -> Path:
    """Return a free path in ComfyUI's temporary folder, which lives as long as what its cache holds."""
    folder, stem, counter, _, _ = folder_paths.get_save_image_path(
        f"vrt/{name}", folder_paths.get_temp_directory(), width, height
    )
    return Path(folder) / f"{stem}_{counter:05}_{suffix}"
