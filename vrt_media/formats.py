"""Options of libav for files of strangers: a file is read alone, without the files and addresses that it may name."""

from __future__ import annotations

from collections.abc import Mapping

import av

_REFERRING_FORMATS = frozenset(
    {
        *("avisynth", "concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vapoursynth"),
        *("vobsub", "webm_dash_manifest"),
    }
)
"""Playlists, scripts, patterns and network sessions, by libav's names."""


def self_contained_options() -> Mapping[str, str]:
    """Return options for opening an input: formats that refer to other files, and all protocols but files, are off."""
    names = {name for names in av.formats_available for name in names.split(",")}
    return {
        "format_whitelist": ",".join(sorted(names - _REFERRING_FORMATS)),
        "protocol_whitelist": "file,pipe,fd",
    }
