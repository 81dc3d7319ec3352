"""`vrt restore`: restores videos and folders of images."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vrt_core import RestoreOptions

from ..config import format_settings
from ..progress import make_console
from . import restore_arguments as arguments

if TYPE_CHECKING:  # at run time, imported where needed: `vrt --help` does not load torch
    from vrt_core import Restorer
    from vrt_jobs.cluster_model import ClusterModel
    from vrt_jobs.inputs import InputSource
    from vrt_jobs.request import JobRequest


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=arguments.RestoreCommand)(restore)


def restore(
    context: typer.Context,
    clips: arguments.Clips,
    model: arguments.Model,
    output: arguments.Output = None,
    out_dir: arguments.OutDir = None,
    out_suffix: arguments.OutSuffix = None,
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
    image_format: arguments.ImageFormat = None,
    overwrite: arguments.Overwrite = False,
    restart: arguments.Restart = False,
    segment_frames: arguments.SegmentFrames = None,
    ray: arguments.Ray = None,
    workers: arguments.Workers = None,
    quiet: arguments.Quiet = False,
    json: arguments.Json = False,
    config: arguments.Config = None,
    print_config: arguments.PrintConfig = False,
) -> None:
    """Restore videos and folders of images.

    Audio and subtitles are copied, colour tags and time stamps kept.

    What is restored lies in the folder OUT.vrt until the last frame is done. The same command again goes on where it
    stopped. Ctrl-C stops after the window in work, a second Ctrl-C at once; vrt join makes a file of what is there.

    Exit codes: 0, 1 for a failure, 2 for wrong usage, 3 if frames of an input are damaged or missing, 130 after Ctrl-C.
    """
    if print_config:
        typer.echo(format_settings(context))
        raise typer.Exit

    from vrt_jobs.inputs import InputSource, fields_of
    from vrt_jobs.request import JobRequest
    from vrt_media.encoding import Encoding, default_codec

    from ..session import Session

    rate, part = arguments.parse_rate(fps), arguments.parse_crop(crop)
    luma, chroma = arguments.parse_strength(strength)
    arguments.check_image_format(image_format, output)
    codec_options = dict(map(arguments.parse_codec_option, codec_option or ()))
    encoding = Encoding(crf=crf, preset=preset, pix_fmt=pix_fmt, options=codec_options, image_format=image_format)
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

    def make_request(clip: str, out: str) -> "JobRequest":
        source = InputSource(
            clip=clip,
            rate=rate,
            start=start,
            limit=frames,
            strict=strict,
            crop=part,
            fields=fields_of(clip, deinterlace),
        )
        return JobRequest(
            source=source,
            output=out,
            model=model,
            encoding=replace(encoding, codec=codec or default_codec(out)),
            options=options if chroma is None else _with_luma_weights(options, source),
            overwrite=overwrite,
            segment_frames=segment_frames,
            restart=restart,
        )

    label = Path(model).stem if Path(model).is_file() else model
    pairs = _pairs(clips, output, out_dir, out_suffix)
    session = partial(Session, make_console(soft_wrap=True, highlight=False), label=label, quiet=quiet, json=json)
    with _connect(ray, workers) as cluster:
        run = session(make_job=None if cluster is None else cluster.make_job).run
        run(pairs, make_request, partial(_load, model, cluster), overwrite=overwrite)


def _pairs(clips: list[str], output: str | None, out_dir: Path | None, suffix: str | None) -> list[tuple[str, str]]:
    """Return each clip with its output."""
    from vrt_jobs.queue import expand_inputs, outputs_in

    if (output is None) == (out_dir is None):
        raise typer.BadParameter("give either -o OUT, or --out-dir for several inputs", param_hint="--output")
    if output is not None:
        if len(clips) > 1:
            raise typer.BadParameter(f"{len(clips)} inputs have one output; give --out-dir", param_hint="--output")
        return [(clips[0], output)]
    assert out_dir is not None
    out_dir.mkdir(parents=True, exist_ok=True)
    inputs = expand_inputs(clips)
    return list(zip(inputs, outputs_in(out_dir, inputs, suffix), strict=True))


@contextmanager
def _connect(ray: str | None, workers: int | None) -> "Iterator[ClusterModel | None]":
    """Connect to the cluster that is asked for, if any."""
    if ray is None:
        if workers is not None:
            raise typer.BadParameter("there are workers with --ray only", param_hint="--workers")
        yield None
        return
    from vrt_jobs.cluster_model import ClusterModel
    from vrt_jobs.cluster_ray import RayCluster

    with closing(ClusterModel(RayCluster(ray), workers)) as cluster:
        yield cluster


def _load(model: str, cluster: "ClusterModel | None", options: RestoreOptions) -> "Restorer":
    """Load the model here, or on the workers of a cluster."""
    if cluster is None:
        return _load_restorer(model, options)
    return cluster.load(model, options, partial(_load_restorer, model))


def _with_luma_weights(options: RestoreOptions, source: "InputSource") -> RestoreOptions:
    """Return options with the luma of the clip, which has a strength of its own."""
    with closing(source.open(on_note=lambda text: None)) as reader:
        return replace(options, luma_weights=reader.info.colour.luma_weights)


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
