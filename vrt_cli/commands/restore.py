"""`vrt restore`: restores a video or a folder of images."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vrt_core import RestoreOptions

from ..config import format_settings
from ..progress import count, make_console
from . import restore_arguments as arguments

if TYPE_CHECKING:  # at run time, imported where needed: `vrt --help` does not load torch
    from vrt_core import Restorer
    from vrt_core.options import Sigma
    from vrt_media.clip import ClipInfo, FrameReader, FrameWriter

    from ..outputs import OutputTarget

EXIT_DAMAGED = 3
"""Exit code of a job that restored all frames that could be decoded, of an input with others."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(restore)


def restore(
    context: typer.Context,
    clip: arguments.Clip,
    output: arguments.Output,
    model: arguments.Model,
    sigma: arguments.SigmaText = None,
    device: arguments.Device = "auto",
    precision: arguments.Precision = "auto",
    window: arguments.Window = None,
    overlap: arguments.Overlap = None,
    tile: arguments.TileText = "auto",
    tile_overlap: arguments.TileOverlap = None,
    factor: arguments.Factor = 2,
    compile: arguments.Compile = False,
    cuts: arguments.CutsText = "auto",
    strength: arguments.StrengthText = "1",
    start: arguments.Start = 0,
    frames: arguments.Frames = None,
    crop: arguments.CropText = None,
    deinterlace: arguments.Deinterlace = "off",
    fps: arguments.Fps = "24",
    strict: arguments.Strict = False,
    codec: arguments.Codec = None,
    crf: arguments.Crf = None,
    preset: arguments.Preset = None,
    pix_fmt: arguments.PixFmt = None,
    codec_option: arguments.CodecOptions = None,
    overwrite: arguments.Overwrite = False,
    quiet: arguments.Quiet = False,
    config: arguments.Config = None,
    print_config: arguments.PrintConfig = False,
) -> None:
    """Restore a video or a folder of images.

    Audio and subtitles are copied, colour tags and time stamps kept.

    Ctrl-C finishes the file with the frames done so far. Exit codes: 0, 1 for a failure, 2 for wrong usage, 3 if frames
    of the input are damaged or missing, 130 after Ctrl-C.
    """
    if print_config:
        typer.echo(format_settings(context))
        raise typer.Exit

    from vrt_core.hardware import pick_device
    from vrt_media.encoding import Encoding, default_codec

    from ..inputs import InputSource, fields_of
    from ..outputs import OutputTarget, check_output

    encoding = Encoding(
        codec=codec or default_codec(output),
        crf=crf,
        preset=preset,
        pix_fmt=pix_fmt,
        options=dict(map(arguments.parse_codec_option, codec_option or ())),
    )
    rate, part = arguments.parse_rate(fps), arguments.parse_crop(crop)
    luma, chroma = arguments.parse_strength(strength)
    options = RestoreOptions(
        device=device,
        precision=precision,
        window_frames=window,
        overlap_frames=overlap,
        tile_px=arguments.parse_tile(tile),
        tile_overlap_px=tile_overlap,
        factor=factor,
        compile=compile,
        sigma_255=arguments.parse_sigma(sigma),
        cuts=arguments.parse_cuts(cuts, start),
        strength=luma,
        chroma_strength=chroma,
    )
    check_output(output, clip, overwrite=overwrite)  # before the model is loaded
    label = Path(model).stem if Path(model).is_file() else model
    source = InputSource(
        clip=clip,
        rate=rate,
        start=start,
        limit=frames,
        strict=strict,
        crop=part,
        fields=fields_of(clip, deinterlace),
    )
    with closing(source.open(pick_device(device))) as reader:
        if chroma is not None:
            options = replace(options, luma_weights=reader.info.colour.luma_weights)
        restorer = _load_restorer(model, options)
        target = OutputTarget(output, reader, restorer, encoding, overwrite=overwrite)
        _run_job(reader, restorer, target, label=label, quiet=quiet, sigma_255=options.sigma_255)


def _load_restorer(model: str, options: RestoreOptions) -> "Restorer":
    """Load the model; a noise level that it lacks, and settings that it does not take, are usage errors."""
    from vrt_core import InputError, load_restorer

    try:
        restorer = load_restorer(model, options, sigma_255=None)  # else the engine refuses it, with another exit code
    except InputError as error:
        if str(error).startswith(("strength ", "chroma_strength ")):
            raise typer.BadParameter(str(error), param_hint="--strength") from None
        raise
    if restorer.needs_sigma and options.sigma_255 is None:
        raise typer.BadParameter(f"{model} needs to know the noise: --sigma 0 to 50, or auto", param_hint="--sigma")
    if not restorer.needs_sigma and options.sigma_255 is not None:
        raise typer.BadParameter(f"{model} takes no noise level; leave it out", param_hint="--sigma")
    return restorer


def _run_job(
    reader: "FrameReader",
    restorer: "Restorer",
    target: "OutputTarget",
    *,
    label: str,
    quiet: bool,
    sigma_255: "Sigma | None",
) -> None:
    """Run the job under a progress bar, and report how it ended."""
    from vrt_media.reader import VideoReader

    from ..interrupt import Interrupt
    from ..job import Stopped, run
    from ..progress import FrameProgress

    console = make_console(soft_wrap=True, highlight=False)

    def say(line: str, *, always: bool = False) -> None:
        if always or not quiet:
            console.print(line, markup=False)

    def report_damage() -> bool:
        damage = reader.damage.lines() if isinstance(reader, VideoReader) else []
        for line in damage:
            say(f"damaged input: {line}", always=True)
        return bool(damage)

    total = reader.info.num_frames
    total_out = None if total is None else total * restorer.frame_factor
    with Interrupt() as interrupt, FrameProgress(console, label=label, total=total_out, quiet=quiet) as bar:

        def open_writer() -> "FrameWriter":
            writer = target.open()
            say(f"{label} on {restorer.device}: {_describe(reader.info)} -> {target.description}")
            for line in target.notes:
                say(line, always=True)
            return writer

        try:
            run(
                reader,
                restorer,
                open_writer,
                on_frame=bar.on_frame,
                check=interrupt.raise_if_cancelled,
                on_step=bar.on_step,
                sigma_255=sigma_255,
            )
        except Stopped:
            report_damage()
            say(f"stopped: {target.describe_result()}", always=True)
            raise typer.Exit(interrupt.exit_code) from None
        except Exception:
            report_damage()
            if bar.num_frames:
                say(f"failed: {target.describe_result()}", always=True)
            raise
        summary = bar.summary
    say(f"{summary} -> {target.name}")
    if report_damage():
        raise typer.Exit(EXIT_DAMAGED)


def _describe(info: "ClipInfo") -> str:
    length = "" if info.num_frames is None else f", {count(info.num_frames, 'frame')}"
    return f"{info.width}x{info.height} {info.pix_fmt}{length}"
