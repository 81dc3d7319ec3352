"""`vrt scenes`: lists the frames where scenes begin, for `vrt restore --cuts`."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrt_jobs.texts import count

from ..errors import EXIT_DAMAGED
from ..progress import FrameProgress, make_console
from . import restore_arguments as arguments

if TYPE_CHECKING:  # at run time, imported where needed: `vrt --help` does not load torch
    from vrt_media.clip import FrameReader


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scenes)


def scenes(
    clip: arguments.Clip,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output if left out.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line, with number and time: for programs, not for --cuts.")
    ] = False,
    start: arguments.Start = 0,
    frames: arguments.Frames = None,
    crop: arguments.CropText = None,
    deinterlace: arguments.Deinterlace = "off",
    fps: arguments.Fps = "24",
    overwrite: arguments.Overwrite = False,
    quiet: arguments.Quiet = False,
) -> None:
    """List the first frame of each scene but the first, one number a line, as vrt restore detects them.

    vrt restore --cuts reads such a list from a file: look through it, and correct it where it is wrong. Frames count
    from 0 at the start of the file, also with --start. Exit codes are those of vrt restore.
    """
    from vrt_jobs.inputs import InputSource, fields_of
    from vrt_media.part_file import PartFile
    from vrt_media.reader import VideoReader

    if output is not None:
        _check_output(output, clip, overwrite=overwrite)
    limit = None if frames is None else start + frames
    rate, part = arguments.parse_rate(fps), arguments.parse_crop(crop)
    source = InputSource(clip=clip, rate=rate, limit=limit, crop=part, fields=fields_of(clip, deinterlace))
    console = make_console(soft_wrap=True, highlight=False)
    lines: list[str] = []
    with (
        closing(source.open()) as reader,
        FrameProgress(console, label="scenes", total=reader.info.num_frames, quiet=quiet) as bar,
    ):
        for number, seconds in _find_cuts(reader, start, bar):
            lines.append(json.dumps({"frame": number, "seconds": seconds}) if as_json else str(number))
            if output is None:
                typer.echo(lines[-1])
        damage = reader.damage.lines() if isinstance(reader, VideoReader) else []
    if output is not None:
        file = PartFile(output)
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.publish(overwrite=overwrite)
        if not quiet:
            console.print(f"{count(len(lines), 'cut')} in {bar.summary} -> {output}", markup=False)
    for line in damage:
        console.print(f"damaged input: {line}", markup=False)
    if damage:
        raise typer.Exit(EXIT_DAMAGED)


def _check_output(output: Path, clip: str, *, overwrite: bool) -> None:
    """Check that the output destroys nothing, before any work is done.

    Raises:
        MediaError: If it is the input, exists already (without `overwrite`), or cannot be created.
    """
    from vrt_jobs.outputs import check_name
    from vrt_media.clip import MediaError

    check_name(output)
    if output.is_dir():
        raise MediaError(f"{output} is a folder; name a file in it")
    if clip != "-" and output.exists() and Path(clip).exists() and output.samefile(clip):
        raise MediaError(f"{output} is the input; choose another name")
    if os.path.lexists(output) and not overwrite:  # a link that leads nowhere is there, too
        raise MediaError(f"{output} is there already; -y replaces it")
    if not output.parent.is_dir():
        raise MediaError(f"{output}: there is no folder {output.parent}; make it first")


def _find_cuts(reader: "FrameReader", start: int, bar: FrameProgress) -> Iterator[tuple[int, float | None]]:
    """Yield number and time of the first frame of each scene but the first, from frame `start` on.

    Raises:
        MediaError: If the clip ends before that frame.
    """
    from vrt_core import CutDetector
    from vrt_media.clip import MediaError

    is_cut, number = CutDetector(), -1
    for number, frame in enumerate(reader.frames(lambda packet: None)):
        if number >= start and is_cut(frame.rgb):
            yield number, None if frame.pts is None else round(float(frame.pts * reader.info.time_base), 6)
        bar.on_frame(number + 1)
    if number < start:
        raise MediaError(f"--start {start}: the input has no such frame, it ends after {count(number + 1, 'frame')}")
