"""Plan of a video output: container, encoder, pixel format and streams, rehearsed before the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.stream import Stream

from .attachments import Attachment
from .clip import ClipInfo, MediaError
from .colour import LEFT, colour_for
from .encoding import Y4M_FORMATS, Encoding, check_pix_fmt, choose_pix_fmt, find_encoder
from .muxer import MuxPlan, container_name, keeps_sample_aspect
from .rehearsal import describe_refusal, rehearse


@dataclass(frozen=True, kw_only=True)
class OutputShape:
    """Properties in which an output differs from its source."""

    height: int
    width: int
    rate: Fraction
    """Frames per second."""
    time_base: Fraction
    """Seconds per unit of the time stamps that `VideoWriter.write` gets."""


@dataclass(frozen=True)
class OutputPlan:
    """A video output that encoder and container take."""

    path: Path
    """File; "-" for y4m on standard output."""
    mux: MuxPlan
    left_out: tuple[str, ...]
    """One line for each thing that the output cannot hold."""

    @property
    def is_piped(self) -> bool:
        """Whether the output is standard output."""
        return str(self.path) == "-"


def plan_output(
    path: str | Path,
    info: ClipInfo,
    shape: OutputShape,
    encoding: Encoding,
    *,
    streams: Iterable[Stream] = (),
    encode_audio: bool = False,
    metadata: Mapping[str, str] | None = None,
    chapters: Sequence[Any] = (),
    attachments: Sequence[Attachment] = (),
    crash_safe: bool = True,
) -> OutputPlan:
    """Plan a video output, and rehearse it.

    Args:
        path: File, whose suffix selects the container, or "-" for y4m on standard output.
        info: Source: its colour, pixel format and sample aspect.
        shape: Output.
        encoding: Encoder and its settings.
        streams: Streams of the source whose packets are copied.
        encode_audio: Whether to encode audio as AAC unless its codec is one of `COPIED_CODECS`.
        metadata: Title and the like, by libav's names.
        chapters: Chapters, as libav has them.
        attachments: Fonts and cover pictures.
        crash_safe: Whether an MP4, MOV or Matroska file can be played up to its last second or so even if the process
            is killed while it writes.

    Raises:
        MediaError: If container, encoder, pixel format and size do not fit each other.
    """
    plan = _plan_video(container_name(path), info, shape, encoding)
    if plan.is_y4m:
        holder = "a y4m pipe" if str(path) == "-" else ".y4m"
        left_out = [describe_refusal(stream, holder) for stream in (*streams, *attachments)]
    else:
        plan = replace(
            plan,
            streams=tuple(streams),
            encode_audio=encode_audio,
            metadata=metadata or {},
            chapters=chapters,
            crash_safe=crash_safe,
            attachments=attachments,
        )
        plan, left_out = rehearse(plan, str(path))
    if info.mastering is not None and (plan.is_y4m or info.mastering.add_to(plan.codec, {}) is None):
        left_out.append(f"mastering display and light level of HDR10: {plan.codec} cannot hold them")
    if info.sample_aspect != 1 and not keeps_sample_aspect(plan.suffix, plan.codec):
        left_out.append(f"sample aspect {info.sample_aspect}: {plan.codec} in {plan.suffix} does not state it")
    return OutputPlan(Path(path), plan, (*left_out, *info.lost_side_data))


def _plan_video(suffix: str, info: ClipInfo, shape: OutputShape, encoding: Encoding) -> MuxPlan:
    """Return the plan of an output without other streams.

    Raises:
        MediaError: If encoder and pixel format do not fit each other.
    """
    is_y4m = suffix == ".y4m"
    codec, settings = ("wrapped_avframe", {}) if is_y4m else (encoding.codec, encoding.settings())
    offered = Y4M_FORMATS if is_y4m else tuple(f.name for f in find_encoder(codec).video_formats or ())
    if info.mastering is not None and not is_y4m:
        settings = info.mastering.add_to(codec, settings) or settings
    pix_fmt = (
        check_pix_fmt(encoding.pix_fmt)
        if encoding.pix_fmt
        else choose_pix_fmt(offered, info.pix_fmt, shape.height, shape.width)
    )
    if offered and pix_fmt not in offered:
        raise MediaError(f"--pix-fmt {pix_fmt}: {codec} takes {', '.join(offered)}")
    colour, time_base = colour_for(pix_fmt, info.colour, shape.height, shape.width), shape.time_base
    if is_y4m:  # it has one rate, and readers take untagged siting for JPEG's
        colour, time_base = replace(colour, siting=colour.siting or LEFT), 1 / shape.rate
    return MuxPlan(
        suffix=suffix,
        codec=codec,
        settings=settings,
        pix_fmt=pix_fmt,
        colour=colour,
        height=shape.height,
        width=shape.width,
        rate=shape.rate,
        time_base=time_base,
        sample_aspect=info.sample_aspect,
    )
