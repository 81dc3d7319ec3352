"""Encoders give the same bytes each time, on any number of processors."""

import hashlib
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from tests.helpers.video_files import picture
from vrt_media.colour import Colour
from vrt_media.encoded import FrameEncoder
from vrt_media.encoding import Encoding, reproducible
from vrt_media.muxer import MuxPlan

ROOT = Path(__file__).parents[2]


def digest_of(codec: str, height: int, width: int, num_frames: int = 16) -> str:
    """Encode a clip of texture in motion; return the digest of its packets and headers."""
    plan = MuxPlan(
        suffix=".mkv", codec=codec, settings=Encoding(codec=codec).settings(), pix_fmt="yuv420p",
        colour=Colour(matrix=1, full_range=False), height=height, width=width, rate=Fraction(25),
        time_base=Fraction(1, 25),
    )  # fmt: skip
    encoder, content = FrameEncoder(plan), hashlib.sha256()
    noise = 0.2 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    for n in range(num_frames):
        rgb = torch.from_numpy(picture(n, height, width)).permute(2, 0, 1) / 255 + noise.roll(5 * n, 2)
        for packet in encoder.encode(encoder.convert(rgb.clamp(0, 1), n)):
            content.update(packet.data)
    for packet in encoder.encode(None):
        content.update(packet.data)
    content.update(encoder.extradata)
    return content.hexdigest()


def test_x264_gives_the_same_bytes_each_time() -> None:
    """Rows of 22 and 45 macroblocks, for which its code for AVX-512 does not."""
    for height, width in ((288, 352), (576, 720)):
        assert len({digest_of("libx264", height, width) for _ in range(3)}) == 1


def test_instruction_sets_of_the_user_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    params = reproducible("libx264", {"crf": "16", "x264-params": "asm=0"})
    assert params["x264-params"].startswith("asm=MMX2,")
    assert params["x264-params"].endswith(":asm=0")
    assert reproducible("libx265", {"crf": "16"}) == {"crf": "16"}
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert reproducible("libx264", {"crf": "16"}) == {"crf": "16"}


CODE = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
from tests.media.test_reproducible import digest_of
print(digest_of(sys.argv[1], 96, 128))
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors"
)
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
def test_the_bytes_do_not_depend_on_the_processors(codec: str) -> None:
    digests = set()
    for number in (1, 2):
        command = [sys.executable, "-c", CODE, codec, str(number)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
        digests.add(done.stdout.split()[-1])
    assert len(digests) == 1
