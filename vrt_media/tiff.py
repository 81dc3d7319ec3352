"""First directory of a TIFF file: what libav does not tell of it, or reads wrongly."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
FLOAT = 3
SHORT = 3
_ENTRY_BYTES = 12


@dataclass(frozen=True)
class TiffDirectory:
    """Facts of the first page of a TIFF file."""

    has_next: bool
    """Whether a second page follows."""
    is_half_float: bool
    """Whether its samples are floating-point numbers of 16 bits."""


def read_directory(path: Path) -> TiffDirectory | None:
    """Read the first directory of a file; None if it is no TIFF file, or is cut off."""
    try:
        with path.open("rb") as file:
            order = {b"II*\0": "<", b"MM\0*": ">"}.get(file.read(4))
            if order is None:
                return None
            (offset,) = struct.unpack(f"{order}I", file.read(4))
            file.seek(offset)
            (num_entries,) = struct.unpack(f"{order}H", file.read(2))
            values = {}
            for _ in range(num_entries):
                tag, kind, count, value = struct.unpack(f"{order}HHI4s", file.read(_ENTRY_BYTES))
                if tag not in (BITS_PER_SAMPLE, SAMPLE_FORMAT) or kind != SHORT:
                    continue
                if count > 2:  # the field holds the place of the numbers
                    place = file.tell()
                    file.seek(struct.unpack(f"{order}I", value)[0])
                    value = file.read(2)
                    file.seek(place)
                (values[tag],) = struct.unpack(f"{order}H", value[:2])
            (following,) = struct.unpack(f"{order}I", file.read(4).ljust(4, b"\0"))
    except struct.error:
        return None
    is_half_float = values.get(SAMPLE_FORMAT) == FLOAT and values.get(BITS_PER_SAMPLE) == 16
    return TiffDirectory(has_next=following != 0, is_half_float=is_half_float)
