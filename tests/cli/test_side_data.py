"""Metadata in the frames of real streams, whose messages are written here bit by bit."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.vrt_restore import VrtRestore

CAPTIONS = b"\xb5\x00\x31GA94\x03" + bytes([0xC1, 0xFF]) + b"\xfc\x94\x2c" + b"\xff"
"""ATSC A/53, part 4, 6.2.3: one pair of bytes of a caption."""


def hdr10_plus() -> bytes:
    """Return a message of SMPTE ST 2094-40 with one window and no curve."""
    fields = [(1, 2), (1000, 27), (0, 1), *[(100, 17)] * 3, (50, 17), (0, 4), (1, 10), (0, 1), (0, 1), (0, 1)]
    bits = "".join(f"{value:0{size}b}" for value, size in fields)
    bits += "0" * (-len(bits) % 8)
    return b"\xb5\x00\x3c\x00\x01\x04\x01" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def encode(codec: str, options: dict[str, str]) -> bytes:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 128, 96, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.options = Fraction(1, 24), Fraction(24), options
    packets = []
    for n in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 50 + n, np.uint8), format="rgb24")
        frame.pts = n
        packets += encoder.encode(frame)
    return b"".join(bytes(packet) for packet in [*packets, *encoder.encode(None)])


def with_message(stream: bytes, header: bytes, message: bytes, is_keyframe: Callable[[int], bool]) -> bytes:
    """Insert a registered user message (SEI, ITU-T T.35) before the first keyframe of an Annex B stream."""
    body = bytearray()
    for byte in bytes([4, len(message)]) + message + b"\x80":
        if body.endswith(b"\0\0") and byte <= 3:
            body.append(3)  # so that it holds no start code
        body.append(byte)
    place = stream.index(b"\0\0\1")
    while not is_keyframe(stream[place + 3]):
        place = stream.index(b"\0\0\1", place + 3)
    return stream[:place] + b"\0\0\1" + header + bytes(body) + stream[place:]


@pytest.mark.parametrize(
    ("suffix", "text"), [(".h264", "closed captions (CEA-608/708)"), (".hevc", "dynamic metadata of HDR10+")]
)
def test_what_no_output_has_is_named(tmp_path: Path, vrt: VrtRestore, suffix: str, text: str) -> None:
    if suffix == ".h264":
        stream = with_message(encode("libx264", {}), b"\x06", CAPTIONS, lambda byte: byte & 31 == 5)
    else:
        plain = encode("libx265", {"x265-params": "log-level=error"})
        stream = with_message(plain, bytes([39 << 1, 1]), hdr10_plus(), lambda byte: byte >> 1 & 63 in (19, 20))
    clip = tmp_path / f"in{suffix}"
    clip.write_bytes(stream)
    for name in ("out.mkv", "out"):
        result = vrt(clip, "-o", tmp_path / name)
        assert result.exit_code == 0, result.stderr
        assert f"left out: {text}" in " ".join(result.stderr.split())
