"""Static metadata of HDR10: the display on which a film was mastered, and its light levels."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import av
from av.sidedata.sidedata import Type

PARAMETER_OPTIONS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}
"""Option by which each encoder takes it; the others have none."""


@dataclass(frozen=True, kw_only=True)
class Mastering:
    """Mastering display (SMPTE ST 2086) and content light level (CTA-861.3)."""

    primaries: tuple[tuple[float, float], ...] | None = None
    """Chromaticity (x, y) of red, green, blue and white; None if unknown."""
    luminance: tuple[float, float] | None = None
    """Minimum and maximum of the display in cd/m2; None if unknown."""
    light_level: tuple[int, int] | None = None
    """MaxCLL and MaxFALL in cd/m2; None if unknown."""

    def add_to(self, codec: str, settings: Mapping[str, str]) -> dict[str, str] | None:
        """Return an encoder's options with the metadata, None if the encoder cannot take it."""
        name = PARAMETER_OPTIONS.get(codec)
        if name is None:
            return None
        given = [settings[name]] if settings.get(name) else []
        return {**settings, name: ":".join([*given, *self._parameters(codec)])}

    def _parameters(self, codec: str) -> list[str]:
        is_av1 = codec == "libsvtav1"
        display, light = {
            "libx264": ("mastering-display", "cll"),
            "libx265": ("master-display", "max-cll"),
            "libsvtav1": ("mastering-display", "content-light"),
        }[codec]
        parameters = []
        if self.primaries is not None and self.luminance is not None:
            unit, luminance_unit = (1, 1) if is_av1 else (50000, 10000)

            def pair(name: str, values: Sequence[float], scale: int) -> str:
                texts = [f"{value:.5f}" if is_av1 else str(round(value * scale)) for value in values]
                return f"{name}({','.join(texts)})"

            red, green, blue, white = self.primaries
            points = zip(("G", "B", "R", "WP"), (green, blue, red, white), strict=True)
            text = "".join(pair(name, point, unit) for name, point in points)
            parameters.append(f"{display}={text}{pair('L', self.luminance[::-1], luminance_unit)}")
        if self.light_level is not None:
            parameters.append(f"{light}={self.light_level[0]},{self.light_level[1]}")
        return parameters


def mastering_of(frame: av.VideoFrame) -> Mastering | None:
    """Return the metadata of a frame, None if it has none."""
    display = frame.side_data.get(Type.MASTERING_DISPLAY_METADATA)
    light = frame.side_data.get(Type.CONTENT_LIGHT_LEVEL)
    if display is None and light is None:
        return None
    primaries = luminance = None
    if display is not None:
        *numbers, has_primaries, has_luminance = struct.unpack("=22i", bytes(display)[:88])
        values = [a / b if b else 0.0 for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries:
            primaries = tuple((values[i], values[i + 1]) for i in range(0, 8, 2))
        if has_luminance:
            luminance = (values[8], values[9])
    light_level = None if light is None else struct.unpack("=II", bytes(light)[:8])
    return Mastering(primaries=primaries, luminance=luminance, light_level=light_level)
