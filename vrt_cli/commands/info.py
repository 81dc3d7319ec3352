"""`vrt info`: describes a media file or a weights file."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from vrt_core.models import WEIGHT_SUFFIXES
from vrt_media.clip import IMAGE_SUFFIXES

Line = tuple[str, str]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(info)


def info(
    file: Annotated[Path, typer.Argument(help="Video, image, folder of images, or weights.", show_default=False)],
) -> None:
    """Show what a video, an image, a folder of images, or a weights file holds."""
    if file.suffix.lower() in WEIGHT_SUFFIXES and file.is_file():
        from .models import describe_weights, table_console

        table_console().print(describe_weights(file))
        return
    if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file():
        from vrt_media.images import read_image

        lines = _describe_frame(read_image(file))
    else:
        lines = _describe_images(file) if file.is_dir() else _describe_media(file)
    for name, value in lines:
        typer.echo(f"{name + ':':<13}{value}")


def _describe_images(folder: Path) -> Iterator[Line]:
    from vrt_media.images import list_images, read_image

    paths = list_images(folder)
    yield "images", f"{len(paths)}, {paths[0].name} to {paths[-1].name}"
    yield from _describe_frame(read_image(paths[0]))


def _describe_media(path: Path) -> Iterator[Line]:
    from av import time_base

    from vrt_media.container import average_rate, count_frames, open_input
    from vrt_media.timeline import as_fraction

    with open_input(path) as container:
        for stream in container.streams.video:
            if stream.codec_context is None:
                yield "video", "no decoder for it"
                continue
            frame = next(container.decode(stream), None)
            if frame is None:
                yield "video", f"{stream.codec_context.name}, no frame can be decoded"
                continue
            rate = average_rate(stream)
            total = count_frames(stream, rate)
            yield "video", stream.codec_context.name
            yield from _describe_frame(frame)
            yield "frames", f"{total if total is not None else 'unknown'}, {_decimal(rate)} fps"
            aspect = as_fraction(stream.sample_aspect_ratio, Fraction(1))
            if aspect != 1:
                yield "samples", f"{aspect.numerator}:{aspect.denominator} (width:height)"
        for stream in container.streams:
            if stream.type != "video":
                yield stream.type, _describe_stream(stream)
        if any(stream.codec_context is not None for stream in container.streams.video):
            yield from _describe_fields(path)
        if container.duration:
            yield "duration", f"{container.duration / time_base:.3f} s"


def _describe_fields(path: Path) -> Iterator[Line]:
    """Describe the fields of a video that is interlaced, or states that it is."""
    from vrt_media.deinterlacing import describe_fields
    from vrt_media.interlacing import measure_fields

    statistics = measure_fields(path)
    if statistics.is_interlaced or statistics.is_flagged:
        yield "fields", describe_fields(statistics)


def _describe_frame(frame: Any) -> Iterator[Line]:
    """Describe size, format and colour of a decoded frame."""
    from vrt_media.colour import BT709, MATRIX_NAMES, RGB, UNSPECIFIED, colour_of
    from vrt_media.orientation import orientation_of

    colour = colour_of(frame)
    yield "size", f"{frame.width}x{frame.height}"
    yield "format", f"{frame.format.name}, {max(c.bits for c in frame.format.components)} bits"
    matrix = MATRIX_NAMES.get(colour.matrix, str(colour.matrix))
    if colour.matrix != RGB and int(frame.colorspace) == UNSPECIFIED:
        matrix = f"not tagged, read as {'BT.709' if colour.matrix == BT709 else 'BT.601'}"
    tagged = "" if int(frame.color_range) or colour.matrix == RGB else " (not tagged)"
    yield "colour", f"{matrix}, {'full' if colour.full_range else 'limited'} range{tagged}"
    yield "tags", f"primaries {colour.primaries}, transfer {colour.transfer}, matrix {int(frame.colorspace)} (H.273)"
    turns, is_mirrored = orientation_of(frame)
    if turns or is_mirrored:
        mirroring = ", then mirrored" if is_mirrored else ""
        yield "rotation", f"{90 * turns} degrees against the clock{mirroring}; done by vrt restore"


def _describe_stream(stream: Any) -> str:
    context = stream.codec_context
    parts = [context.name if context else "unknown"]
    if stream.type == "audio":
        parts += [f"{context.sample_rate} Hz", context.layout.name]
    if stream.language and stream.language != "und":
        parts.append(stream.language)
    return ", ".join(parts)


def _decimal(rate: Fraction) -> str:
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")
