"""Manifest of a job: what its frames depend on, so that a job goes on only with what it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch

from vrt_core import OPTIONS, InputError, Restorer, __version__
from vrt_media.crop import Crop
from vrt_media.encoding import Encoding
from vrt_media.images import list_images
from vrt_media.output_plan import OutputPlan

from .disk import identify
from .errors import JobError
from .inputs import InputSource
from .request import JobRequest

FORMAT = 1
"""Version of the job folder."""
COMPARED_OPTIONS = (
    *("sigma_255", "cuts", "compile", "tile_overlap_px", "factor", "strength", "chroma_strength", "luma_weights"),
)
"""Options that are not in what the model was made of."""


def make_manifest(
    request: JobRequest,
    restorer: Restorer,
    size: tuple[int, int],
    plan: OutputPlan | None,
    *,
    segment_frames: int,
    image_suffix: str,
    device: str | None = None,
    num_threads: int = 0,
) -> dict[str, Any]:
    """Describe a job.

    Args:
        request: What is asked for.
        restorer: Loaded model.
        size: (height, width) of the input, pixels.
        plan: Output, None for a folder of images.
        segment_frames: Output frames of a segment.
        image_suffix: Suffix of the images of a folder.
        device: Type of the device that computes the frames, if it is not that of the restorer.
        num_threads: Threads of torch that compute them, on which the rounding of a CPU depends; 0 for other devices.
    """
    options, source, asked = request.options, request.source, facts_of(request)
    frames = {name: asked[name] for name in ("start", "frames", "fps", "crop", "deinterlace")}
    return {
        "format": FORMAT,
        "version": __version__,
        "request": asked,
        "scale": restorer.scale,
        "factor": restorer.frame_factor,
        "threads": num_threads,
        "tiles": [list(tile) for tile in restorer.tile_sizes(*size)],
        "fixed": {
            "input": identify_input(source),
            **{name: value for name, value in frames.items() if name != "fps" or source.reads_images},
            **model_facts(restorer),
            "device": device or restorer.device.type,
            **{name: _plain(getattr(options, name)) for name in COMPARED_OPTIONS},
            "segment_frames": segment_frames,
            "output_name": Path(request.output).name,
            "output": None if plan is None else _describe(plan),
            "images": image_suffix if plan is None else None,
        },
    }


def model_facts(restorer: Restorer) -> dict[str, Any]:
    """Return what the frames of a model depend on, with the versions of the libraries that compute and encode them."""
    return {
        "model": {"name": restorer.name, "sha256": weights_digest(restorer)},
        "precision": str(restorer.dtype).removeprefix("torch."),
        "windows": [[runner.window_frames, runner.overlap_frames] for runner in restorer.runners],
        "versions": {"vrt": __version__, "torch": torch.__version__, "PyAV": av.__version__},
    }


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path, num_frames: int) -> None:
    """Check that a job goes on with what it began with.

    Raises:
        JobError: If anything differs on which the frames depend; the message names the first difference.
    """
    if old.get("format") != FORMAT:
        raise JobError(f"{folder} is a job of another version of this program; finish it with that, or --restart")
    before, now = dict(_flatten(old.get("fixed", {}))), dict(_flatten(new["fixed"]))
    differences = [key for key in (*before, *(k for k in now if k not in before)) if before.get(key) != now.get(key)]
    if differences:
        key = differences[0]
        others = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise JobError(
            f"{folder} holds {num_frames} frames of a job with another {key}{others}: {_short(before.get(key))} "
            f"there, {_short(now.get(key))} here; give the settings that it began with, or --restart to discard it"
        )


def request_of(manifest: Mapping[str, Any], output: Path) -> tuple[JobRequest, int, int]:
    """Return what a job was asked to do, with scale and frame factor of its model, for joining its segments.

    Raises:
        JobError: If the manifest is damaged.
    """
    try:
        facts, scale, factor = manifest["request"], manifest["scale"], manifest["factor"]
        source = InputSource(
            clip=facts["clip"],
            rate=Fraction(facts["fps"]),
            start=facts["start"],
            limit=facts["frames"],
            crop=None if facts["crop"] is None else Crop.parse(facts["crop"]),
            fields=facts["deinterlace"],
        )
        request = JobRequest(source=source, output=str(output), encoding=Encoding(**facts["encoding"]))
        return request, int(scale), int(factor)
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise JobError(f"the manifest of {output} is damaged: {error!r}") from None


def facts_of(request: JobRequest) -> dict[str, Any]:
    """Return everything that a request asks for and that decides about the output, as JSON gives it back."""
    source = request.source
    return {
        "clip": str(Path(source.clip).absolute()),
        "model": request.model,
        "start": source.start,
        "frames": source.limit,
        "fps": str(source.rate),
        "crop": None if source.crop is None else str(source.crop),
        "deinterlace": source.fields,
        "encoding": asdict(request.encoding),
        "options": {option.name: str(getattr(request.options, option.name)) for option in OPTIONS.values()},
        "segment_frames": request.segment_frames,
    }


def weights_digest(restorer: Restorer) -> str:
    """Return the SHA-256 digest of all parameters of all networks, in the precision in which they run."""
    content = hashlib.sha256()
    for runner in restorer.runners:
        for name, tensor in runner.network.state_dict().items():
            content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()


def identify_input(source: InputSource) -> dict[str, Any]:
    """Return what tells the content of an input from others."""
    path = Path(source.clip)
    if not source.reads_images:
        return identify(path)
    paths = list_images(path) if path.is_dir() else [path]
    names = "\n".join(f"{p.name} {p.stat().st_size}" for p in paths)
    ends = [identify(paths[0])["sha256_of_ends"], identify(paths[-1])["sha256_of_ends"]]
    return {"images": len(paths), "sha256_of_names": hashlib.sha256(names.encode()).hexdigest(), "ends": ends}


def _describe(plan: OutputPlan) -> dict[str, Any]:
    mux = plan.mux
    return {
        "suffix": mux.suffix,
        "codec": mux.codec,
        "settings": dict(mux.settings),
        "pix_fmt": mux.pix_fmt,
        "size": [mux.height, mux.width],
        "time_base": str(mux.time_base),
        "streams": [stream.index for stream in mux.streams],
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return value if value is None or isinstance(value, (str, int, float)) else list(value)


def _flatten(facts: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries with dotted names."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
