"""`vrt restore`: the options, checked and handed on."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from vrt_core import OPTIONS
from vrt_media.clip import count

if TYPE_CHECKING:  # the command line answers --help without loading torch
    from vrt_core import Sigma
    from vrt_media.clip import ClipFacts, Sink, Source

    from ..outputs import Output

Help = typer.Option


def _engine(name: str, **facts: Any) -> Any:
    """One of the core's options, with its help and its range."""
    option = OPTIONS[name]
    return typer.Option(
        min=None if option.choices else option.least, help=option.help, rich_help_panel="Engine", **facts
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(restore)


def restore(
    clip: Annotated[
        str,
        typer.Argument(metavar="IN", help="Video, folder of images, image, or - for y4m on standard input."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Video (.mkv, .mp4, ...), folder for PNGs, .png, or - for y4m.",
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Name (vrt models lists them) or weights file.")],
    sigma: Annotated[
        str | None,
        Help(metavar="SIGMA", help="Strength of the noise, 0 to 50 in 8-bit units, or auto; denoising models."),
    ] = None,
    device: Annotated[str, Help(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel="Engine")] = "auto",
    precision: Annotated[Literal["auto", "fp32", "fp16", "bf16"], _engine("precision")] = "auto",
    window: Annotated[int | None, _engine("window_frames", metavar="FRAMES")] = None,
    overlap: Annotated[int | None, _engine("overlap_frames", metavar="FRAMES")] = None,
    tile: Annotated[
        str, Help(metavar="PX", help="auto, 0 (none), 128 or 128x192 (HxW), of the input.", rich_help_panel="Engine")
    ] = "auto",
    tile_overlap: Annotated[int | None, _engine("tile_overlap_px", metavar="PX")] = None,
    factor: Annotated[int, _engine("factor", metavar="2|4|8")] = 2,
    compile: Annotated[
        bool,
        Help(
            "--compile",
            help="Compile the model first, which takes minutes once; for long clips on an accelerator.",
            rich_help_panel="Engine",
        ),
    ] = False,
    cuts: Annotated[
        str,
        Help(help="auto, off, frames where scenes begin (12,80) or a file of them.", rich_help_panel="Engine"),
    ] = "auto",
    start: Annotated[int, Help(min=0, metavar="FRAME", help="First frame to take.", rich_help_panel="Input")] = 0,
    frames: Annotated[
        int | None, Help(min=1, metavar="COUNT", help="Frames to take at most.", rich_help_panel="Input")
    ] = None,
    fps: Annotated[str, Help(help="Rate of a folder of images: 24, 30000/1001.", rich_help_panel="Input")] = "24",
    codec: Annotated[
        str | None,
        Help(help="libx264, libx265, libsvtav1, ffv1, ...; libx264, for .webm libvpx-vp9.", rich_help_panel="Output"),
    ] = None,
    crf: Annotated[
        float | None, Help(help="Quality; for libx264 16, lower is better.", rich_help_panel="Output")
    ] = None,
    preset: Annotated[str | None, Help(help="Speed; for libx264 medium.", rich_help_panel="Output")] = None,
    pix_fmt: Annotated[
        str | None, Help(help="yuv420p, yuv420p10le, ...; as the input.", rich_help_panel="Output")
    ] = None,
    codec_option: Annotated[
        list[str] | None,
        Help(metavar="NAME=VALUE", help="Further encoder option; may be repeated.", rich_help_panel="Output"),
    ] = None,
    overwrite: Annotated[bool, Help("-y", help="Replace what is there.", rich_help_panel="Output")] = False,
    quiet: Annotated[bool, Help("--quiet", "-q", help="No progress, no summary.")] = False,
) -> None:
    """Restore a video or a folder of images.

    Audio and subtitles are copied, colour tags and time stamps kept.

    Ctrl-C finishes the file with the frames done so far.
    """
    from vrt_media.encoding import Encoding, default_codec

    from ..outputs import Output, check_output

    encoding = Encoding(
        codec=codec or default_codec(output),
        crf=crf,
        preset=preset,
        pix_fmt=pix_fmt,
        options=dict(map(_parse_setting, codec_option or ())),
    )
    rate, tile_px, cut_frames = _parse_rate(fps), _parse_tile(tile), _parse_cuts(cuts, start)
    sigma_255 = _parse_sigma(sigma)
    check_output(output, clip, overwrite=overwrite)  # before the model is loaded
    from vrt_core import load_restorer

    restorer = load_restorer(
        model,
        device=device,
        precision=precision,
        window_frames=window,
        overlap_frames=overlap,
        tile_px=tile_px,
        tile_overlap_px=tile_overlap,
        factor=factor,
        compile=compile,
    )
    if restorer.needs_sigma and sigma is None:
        raise typer.BadParameter(f"{model} needs to know the noise: --sigma 0 to 50, or auto", param_hint="--sigma")
    if not restorer.needs_sigma and sigma is not None:
        raise typer.BadParameter(f"{model} is told no noise level; leave it out", param_hint="--sigma")
    label = Path(model).stem if Path(model).is_file() else model
    with closing(_open_source(clip, rate=rate, start=start, limit=frames, device=restorer.device)) as source:
        job = Output(output, source, restorer, encoding)
        _work(source, restorer, job, label=label, quiet=quiet, sigma_255=sigma_255, cuts=cut_frames)


def _work(source: "Source", restorer: Any, job: "Output", *, label: str, quiet: bool, **options: Any) -> None:
    """Run the job under a progress bar, and say how it ended."""
    from ..interrupt import Interrupt
    from ..job import Stopped, run
    from ..progress import FrameProgress

    console = Console(stderr=True, soft_wrap=True, highlight=False)

    def say(line: str, *, always: bool = False) -> None:
        if always or not quiet:
            console.print(line, markup=False)

    total = source.facts.num_frames
    total_out = None if total is None else total * restorer.frame_factor
    with Interrupt() as interrupt, FrameProgress(console, label=label, total=total_out, quiet=quiet) as bar:

        def make_sink() -> "Sink":
            sink = job.open()
            say(f"{label} on {restorer.device}: {_describe(source.facts)} -> {job.description}")
            for line in job.left_out:
                say(f"left out: {line}", always=True)
            return sink

        try:
            run(
                source,
                restorer,
                make_sink,
                on_frame=bar.on_frame,
                on_step=bar.on_step,
                check=interrupt.check,
                **options,
            )
        except Stopped as stopped:
            kept = f"{count(stopped.num_frames, 'frame')} kept in {job.name}"
            say(f"stopped: {kept if stopped.num_frames else 'nothing was written'}", always=True)
            raise typer.Exit(interrupt.exit_code) from None
        except Exception:
            if bar.num_frames:
                say(f"failed: {count(bar.num_frames, 'frame')} kept in {job.name}", always=True)
            raise
        summary = bar.summary
    say(f"{summary} -> {job.name}")


def _open_source(clip: str, **settings: Any) -> "Source":
    from vrt_media.clip import IMAGE_SUFFIXES
    from vrt_media.images import ImageSource
    from vrt_media.reader import VideoSource

    path = Path(clip)
    if clip != "-" and (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES):
        return ImageSource(path, **settings)
    settings.pop("rate")
    return VideoSource(clip, **settings)


def _describe(facts: "ClipFacts") -> str:
    length = "" if facts.num_frames is None else f", {count(facts.num_frames, 'frame')}"
    return f"{facts.width}x{facts.height} {facts.pix_fmt}{length}"


def _parse_setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--codec-option")
    return name, value


def _parse_rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise typer.BadParameter(f"{text!r} is no rate between 0 and 1000 frames per second", param_hint="--fps")
    return rate.limit_denominator(1001 * 1000)


def _parse_sigma(text: str | None) -> "Sigma | None":
    if text is None or text == "auto":
        return text
    from vrt_core import MAX_SIGMA_255

    try:
        sigma = float(text)
    except ValueError:
        sigma = -1.0
    if not 0 <= sigma <= MAX_SIGMA_255:
        raise typer.BadParameter(f"{text!r} is neither auto nor in 0 to {MAX_SIGMA_255}", param_hint="--sigma")
    return sigma


def _parse_tile(text: str) -> int | tuple[int, int] | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        sizes = [int(part) for part in text.lower().split("x")]
    except ValueError:
        sizes = []
    if len(sizes) == 1:
        return sizes[0]
    if len(sizes) != 2:
        raise typer.BadParameter(f"{text!r} is not auto, 0, a size, or HxW", param_hint="--tile")
    return sizes[0], sizes[1]


def _parse_cuts(text: str, start: int) -> Literal["auto", "off"] | list[int]:
    """Cuts as the engine wants them, counted from `start`; a file has one frame number a line, # begins a comment."""
    if text in ("auto", "off"):
        return text
    path = Path(text)
    if path.is_file():
        words = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    else:
        words = text.split(",")
    try:
        numbers = sorted({int(word) for word in words if word})
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither auto, off, frame numbers with commas, nor a file of frame numbers",
            param_hint="--cuts",
        ) from None
    return [n - start for n in numbers if n > start]
