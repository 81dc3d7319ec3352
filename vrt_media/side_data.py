"""Side data of frames that no output of this library has, so that it is named as left out."""

from __future__ import annotations

from collections.abc import Mapping

import av
from av.sidedata.sidedata import Type

DESCRIPTIONS: Mapping[str, str] = {
    "A53_CC": "closed captions (CEA-608/708)",
    "DYNAMIC_HDR_PLUS": "dynamic metadata of HDR10+",
    "DYNAMIC_HDR_VIVID": "dynamic metadata of HDR Vivid",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "LCEVC": "enhancement layer of LCEVC",
    "STEREO3D": "arrangement of stereoscopic views",
    "SPHERICAL": "projection of spherical video",
    "ICC_PROFILE": "ICC profile",
    "S12M_TIMECODE": "time codes in the frames",
    "GOP_TIMECODE": "time codes in the frames",
    "AFD": "active format description",
}
"""What users would miss, by libav's name of its type."""


def describe_lost_side_data(frame: av.VideoFrame) -> tuple[str, ...]:
    """Return what a frame has beside its picture and that is lost, one description each."""
    types = {name: getattr(Type, name, None) for name in DESCRIPTIONS}  # older libav has fewer
    present = [name for name, kind in types.items() if kind is not None and frame.side_data.get(kind) is not None]
    return tuple(dict.fromkeys(DESCRIPTIONS[name] for name in present))
