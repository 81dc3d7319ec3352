"""Arguments of `vrt restore`: their declarations for typer, and the parsers of those that are not plain values."""

import codecs
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from vrt_core import MAX_SIGMA_255, OPTIONS

from ..config import load_defaults

if TYPE_CHECKING:
    from vrt_core.options import Sigma, TilePx
    from vrt_media.crop import Crop


MIN_FPS, MAX_FPS = Fraction(1, 1000), 1000


def _engine(help: str, **facts: Any) -> Any:
    return typer.Option(help=help, rich_help_panel="Engine", **facts)


def _engine_option(name: str, **facts: Any) -> Any:
    """Return a typer option with help and range of one of the engine's options."""
    option = OPTIONS[name]
    return _engine(option.help, min=None if option.choices else option.min, **facts)


def _input(help: str, **facts: Any) -> Any:
    return typer.Option(help=help, rich_help_panel="Input", **facts)


def _output(*flags: str, help: str, **facts: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel="Output", **facts)


def _cluster(*flags: str, help: str, **facts: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel="Cluster", **facts)


Clip = Annotated[
    str, typer.Argument(metavar="IN", help="Video, folder of images, image, or - for y4m on standard input.")
]
Clips = Annotated[
    list[str],
    typer.Argument(metavar="IN...", help="Video, folder of images, image, or - for y4m on standard input."),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="OUT", help="Video (.mkv, ...), folder for images, .png, .tif, .exr, or - for y4m."
    ),
]
OutDir = Annotated[
    Path | None,
    _output("--out-dir", metavar="FOLDER", help="For several inputs: files, patterns, folders of videos."),
]
OutSuffix = Annotated[
    str | None, _output("--out-suffix", metavar=".mkv", help="Container of the outputs in --out-dir; as the inputs.")
]
Model = Annotated[str, typer.Option("--model", "-m", help="Name (vrt models lists them) or weights file.")]
SigmaText = Annotated[
    str | None,
    typer.Option(metavar="SIGMA", help="Strength of the noise, 0 to 50 in 8-bit units, or auto; denoising models."),
]

Device = Annotated[str, _engine("auto, cpu, cuda, cuda:1, ...")]
Precision = Annotated[Literal["auto", "fp32", "fp16", "bf16"], _engine_option("precision")]
Window = Annotated[int | None, _engine_option("window_frames", metavar="FRAMES")]
Overlap = Annotated[int | None, _engine_option("overlap_frames", metavar="FRAMES")]
TileText = Annotated[str, _engine("auto, 0 (none), 128 or 128x192 (HxW), of the input.", metavar="PX")]
TileOverlap = Annotated[int | None, _engine_option("tile_overlap_px", metavar="PX")]
Factor = Annotated[int, _engine_option("factor", metavar="2|4|8")]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the model first, which takes minutes once; for long clips on an accelerator.",
        rich_help_panel="Engine",
    ),
]
CutsText = Annotated[str, _engine("auto, off, frames where scenes begin (12,80) or a file of them.")]

StrengthText = Annotated[
    str,
    _engine("How much to restore, 0 to 1: mixes restored frames with the input; or luma and chroma.", metavar="S|L:C"),
]

Start = Annotated[int, _input("First frame to take.", min=0, metavar="FRAME")]
Frames = Annotated[int | None, _input("Frames to take at most.", min=1, metavar="COUNT")]
CropText = Annotated[
    str | None,
    _input("Part of the picture to restore: width, height, left, top; W:H is centred.", metavar="W:H:X:Y"),
]
Deinterlace = Annotated[
    Literal["off", "auto", "on"],
    _input("Make whole frames of fields (bwdif), one of two; auto: if the frames show that there are fields."),
]
Fps = Annotated[str, _input("Rate of a folder of images: 24, 30000/1001.")]

Codec = Annotated[str | None, _output(help="libx264, libx265, libsvtav1, ffv1, ...; libx264, for .webm libvpx-vp9.")]
Crf = Annotated[float | None, _output(help="Quality; for libx264 16, lower is better.")]
Preset = Annotated[str | None, _output(help="Speed; for libx264 medium.")]
PixFmt = Annotated[str | None, _output(help="yuv420p, yuv420p10le, ...; as the input.")]
CodecOptions = Annotated[
    list[str] | None, _output(metavar="NAME=VALUE", help="Further encoder option; may be repeated.")
]
ImageFormat = Annotated[
    Literal["png", "tif", "exr"] | None,
    _output("--image-format", help="Format of a folder of images; exr for floating-point inputs, png for others."),
]
Strict = Annotated[bool, _input("Stop at the first damaged frame, instead of repeating the frame before it.")]

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="TOML",
        callback=load_defaults,
        is_eager=True,
        help="File of settings, as --print-config prints them; the command line overrides it.",
    ),
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print all settings as TOML, and exit.")]
Overwrite = Annotated[bool, _output("-y", help="Replace what is there.")]
Restart = Annotated[bool, _output("--restart", help="Discard what an earlier run of this output has finished.")]
SegmentFrames = Annotated[
    int | None,
    _output(
        "--segment-frames",
        min=1,
        metavar="COUNT",
        help="Frames of a segment, which begins with a keyframe; 250 or fewer.",
    ),
]
Ray = Annotated[
    str | None,
    _cluster(
        "--ray",
        metavar="[ADDRESS|auto|local]",
        help="Restore on workers of a Ray cluster: host:port, the one that runs here (auto, or no value), or one that "
        "is started for this job (local). Needs the extra jobs.",
    ),
]
Workers = Annotated[
    int | None,
    _cluster(
        "--workers", min=1, metavar="COUNT", help="Workers on the cluster: one for each GPU, else for each machine."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard error, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]


class RestoreCommand(TyperCommand):
    """The command, with a value that may be left out: `--ray` alone is `--ray auto`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the value."""
        words = [*args, "-"]
        ends = [n for n, word in enumerate(words[:-1]) if word == "--ray" and words[n + 1].startswith("-")]
        for n in reversed(ends):
            args = [*args[: n + 1], "auto", *args[n + 1 :]]
        return super().parse_args(ctx, args)


def parse_codec_option(text: str) -> tuple[str, str]:
    """Return name and value of an encoder option."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--codec-option")
    return name, value


def parse_rate(text: str) -> Fraction:
    """Return frames per second."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not MIN_FPS <= rate <= MAX_FPS:
        limits = f"{float(MIN_FPS):g} to {MAX_FPS} frames per second"
        raise typer.BadParameter(f"{text!r} is no rate of {limits}", param_hint="--fps")
    return rate.limit_denominator(1001 * 1000)


def parse_crop(text: str | None) -> "Crop | None":
    """Return the part of the picture, or None for all of it."""
    from vrt_media.crop import Crop

    try:
        return None if text is None else Crop.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--crop") from None


def parse_sigma(text: str | None) -> "Sigma | None":
    """Return the noise level in 8-bit units, "auto", or None."""
    if text is None or text == "auto":
        return text
    try:
        sigma = float(text)
    except ValueError:
        sigma = -1.0
    if not 0 <= sigma <= MAX_SIGMA_255:
        raise typer.BadParameter(f"{text!r} is neither auto nor in 0 to {MAX_SIGMA_255}", param_hint="--sigma")
    return sigma


def parse_strength(text: str) -> tuple[float, float | None]:
    """Return the strength of luma, and that of chroma, or None where it is the same."""
    try:
        numbers = [float(word) for word in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= number <= 1 for number in numbers):
        raise typer.BadParameter(
            f"{text!r} is neither a number from 0 to 1 nor two, LUMA:CHROMA", param_hint="--strength"
        )
    return numbers[0], numbers[1] if len(numbers) == 2 else None


def parse_tile(text: str) -> "TilePx":
    """Return the tile size in pixels: one number, (height, width), or "auto"."""
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


def parse_cuts(text: str, start: int) -> Literal["auto", "off"] | list[int]:
    """Return the first frames of scenes, counted from frame `start` of the file.

    Args:
        text: "auto", "off", frame numbers with commas, or a file with one number a line; # begins a comment.
        start: First frame that is restored.
    """
    if text in ("auto", "off"):
        return text
    if os.path.isfile(text):  # false, other than that of pathlib, for lists that are too long for a name
        words = [line.partition("#")[0].strip() for line in _decode(Path(text).read_bytes()).splitlines()]
    else:
        words = text.split(",")
    try:
        numbers = sorted({int(word) for word in words if word})
    except ValueError:
        raise typer.BadParameter(
            f"{text[:80]!r} is neither auto, off, frame numbers with commas, nor a file of frame numbers",
            param_hint="--cuts",
        ) from None
    return [n - start for n in numbers if n > start]


def _decode(data: bytes) -> str:
    """Return the text of a file: UTF-8, or UTF-16 with its mark; bytes of other encodings can be in comments only."""
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")


def check_image_format(image_format: str | None, output: str | None) -> None:
    """Refuse a format of images for an output that is none."""
    from vrt_jobs.outputs import is_folder

    if image_format and output is not None and not is_folder(output):
        raise typer.BadParameter(f"-o {output} is no folder of images", param_hint="--image-format")
