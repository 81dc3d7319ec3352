"""MP4 files that frames made from a VIDEO are written to: temporary ones, or what is left of a run that failed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.model_management as mm
import folder_paths
from comfy_api.latest import InputImpl

from ._bridge import audio, container, encoding, output_plan, writer
from .video_io import BT709, HDR_TRANSFERS, TensorReader, WarnUser

if TYPE_CHECKING:
    from vrt_media.clip import ClipInfo
    from vrt_media.output_plan import OutputShape
    from vrt_media.reader import VideoReader
    from vrt_media.writer import VideoWriter


def open_writer(
    path: Path,
    source: VideoReader | TensorReader,
    shape: OutputShape,
    crf: float,
    warn_user: WarnUser,
    *,
    for_browsers: bool = False,
) -> VideoWriter:
    """Open an MP4 file for frames made from a video, with its audio: H.264 in 4:2:0, or 4:4:4 for odd sizes.

    Args:
        path: File.
        source: The video.
        shape: Size and rate of the frames.
        crf: Quality, 0 to 51.
        warn_user: Called with everything that is left out.
        for_browsers: Whether the file is 8-bit BT.709 in any case.
    """
    streams = [] if isinstance(source, TensorReader) else [s for s in source.copied_streams if s.type == "audio"]
    for stream in streams:
        if note := audio.conversion_note(stream.codec_context):
            warn_user(f"audio stream {stream.index}: {note}")
    plan = output_plan.plan_output(
        path,
        _output_info(source.info, warn_user, for_browsers=for_browsers),
        shape,
        encoding.Encoding(codec="libx264", crf=crf),
        streams=streams,
        encode_audio=True,
    )
    others = [] if isinstance(source, TensorReader) or for_browsers else _describe_others(source)
    for line in (*plan.left_out, *others):
        warn_user(f"left out: {line}")
    output = writer.VideoWriter(plan, on_note=warn_user)
    if isinstance(source, TensorReader):
        try:
            source.add_audio(output)
        except BaseException:
            output.discard()
            raise
    return output


def _output_info(info: ClipInfo, warn_user: WarnUser, *, for_browsers: bool) -> ClipInfo:
    """Return what is known of the source, with the colour and depth that the output gets.

    ComfyUI keeps the depth and the colour space of a file in the versions that can tell them.
    """
    bits = encoding.bit_depth(info.pix_fmt)
    is_hdr = info.colour.transfer in HDR_TRANSFERS.values()
    keeps_depth, keeps_hdr = (
        not for_browsers and hasattr(InputImpl.VideoFromFile, name) for name in ("get_bit_depth", "get_color_space")
    )
    if is_hdr and keeps_depth and keeps_hdr:
        return replace(info, pix_fmt="yuv420p10le", colour=replace(info.colour, full_range=False))
    if is_hdr:
        warn_user("the video is HDR: it is worked on as it is and tagged BT.709, so convert it to SDR first")
    elif bits > 8 and not keeps_depth:
        warn_user(f"the video has {bits} bits a channel, the result has 8: `vrt restore` keeps them")
    return replace(info, pix_fmt="yuv420p10le" if bits > 8 and keeps_depth else "yuv420p", colour=BT709, mastering=None)


def _describe_others(source: VideoReader) -> list[str]:
    """Return a line for each part of a file that is no video and no audio."""
    others = [s for s in (*source.copied_streams, *source.other_streams) if s.type != "audio"]
    num_chapters = len(source.chapters)
    return [
        *(f"{stream.type} stream {stream.index}" for stream in others),
        *(str(attachment) for attachment in source.attachments),
        *([f"{num_chapters} chapter{'' if num_chapters == 1 else 's'}"] if num_chapters else []),
    ]


@contextmanager
def keeping_frames(output: VideoWriter, warn_user: WarnUser) -> Iterator[None]:
    """Close a writer at the end.

    After a failure, the frames that are finished go to ComfyUI's output folder; a cancel leaves no file.

    Args:
        output: The writer.
        warn_user: Called with the name of the file that is left of a failed run.
    """
    try:
        yield
        output.close()
    except mm.InterruptProcessingException:
        output.discard()
        raise
    except Exception:
        _keep_frames(output, warn_user)
        raise
    except BaseException:
        output.discard()
        raise


def _keep_frames(output: VideoWriter, warn_user: WarnUser) -> None:
    """Close a writer, and move its file to the output folder if frames can be read from it; else delete it."""
    if output.num_frames:
        with suppress(Exception):  # the first error is the one to report
            output.close(complete=False)
    path = output.result
    num_frames = container.count_packets(path) if path is not None else 0
    if path is None or not num_frames:
        output.discard()
        return
    with suppress(OSError):  # it stays where it is
        path = Path(shutil.move(path, _free_path("unfinished", ".mp4", folder_paths.get_output_directory())))
    warn_user(f"the run failed; the {num_frames} frames that were finished are in {path}")


def temporary_file(name: str, suffix: str, width: int = 0, height: int = 0) -> Path:
    """Return a free path in ComfyUI's temporary folder, which lives as long as its cache."""
    return _free_path(name, suffix, folder_paths.get_temp_directory(), width, height)


def _free_path(name: str, suffix: str, parent: str, width: int = 0, height: int = 0) -> Path:
    folder, stem, counter, _, _ = folder_paths.get_save_image_path(f"vrt/{name}", parent, width, height)
    return Path(folder) / f"{stem}_{counter:05}_{suffix}"
