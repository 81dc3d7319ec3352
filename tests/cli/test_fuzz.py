"""1008 damaged files: no traceback, no lost input, no frame that is missing without a word."""

import random
import shutil
from pathlib import Path

import av
import pytest

from tests.helpers.video_files import make_video
from tests.helpers.vrt_restore import VrtRestore

FILES = [
    *((".mkv", "libx264"), (".mp4", "libx264"), (".mov", "mpeg4"), (".avi", "mpeg4"), (".ts", "libx264")),
    *((".mpg", "mpeg2video"), (".webm", "libvpx-vp9"), (".mkv", "ffv1"), (".flv", "libx264"), (".mkv", "libx265")),
    *((".mov", "prores_ks"), (".mkv", "mjpeg")),
]
UNDECLARED = {".ts", ".mpg"}
"""Containers that state no length: what is cut off, or removed at the end, leaves no trace."""
NOTES = ("its time stamps have gaps", "some may be lost before it")
NUM_SEEDS, NUM_FRAMES, HEAD_BYTES = 84, 48, 1024
PIX_FMTS = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}
OPTIONS = {"libx265": {"x265-params": "log-level=error"}, "ffv1": {}, "prores_ks": {}, "mjpeg": {}}


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a copy with one kind of damage."""
    copy, start = bytearray(data), rng.randrange(len(data))
    stop = min(start + int(2 ** rng.uniform(0, 14)), len(data))
    match rng.choice(["bytes", "head", "zeros", "junk", "cut", "removed", "repeated"]):
        case "bytes":
            for _ in range(rng.randint(1, 20)):
                copy[rng.randrange(len(copy))] = rng.randrange(256)
        case "head":
            for _ in range(rng.randint(1, 8)):
                copy[rng.randrange(min(len(copy), HEAD_BYTES))] = rng.randrange(256)
        case "zeros":
            copy[start:stop] = bytes(stop - start)
        case "junk":
            copy[start:stop] = rng.randbytes(stop - start)
        case "cut":
            del copy[start:]
        case "removed":
            del copy[start:stop]
        case "repeated":
            copy[start:start] = copy[start:stop]
    return bytes(copy)


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("suffix", "codec"), FILES)
def test_damaged_files(tmp_path: Path, vrt: VrtRestore, suffix: str, codec: str) -> None:
    whole = make_video(
        tmp_path / f"whole{suffix}",
        codec=codec,
        num_frames=NUM_FRAMES,
        size=(96, 128),
        pix_fmt=PIX_FMTS.get(codec, "yuv420p"),
        audio=suffix not in (".webm", ".mpg"),
        options=OPTIONS.get(codec, {"g": "8"}),
    )
    faults = []
    for seed in range(NUM_SEEDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        data = damaged(whole.read_bytes(), random.Random(f"{suffix} {codec} {seed}"))
        clip, out = folder / f"in{suffix}", folder / "out.mkv"
        clip.write_bytes(data)
        result = vrt(clip, "-o", out)
        if not isinstance(result.exception, SystemExit | None):
            faults.append((seed, repr(result.exception)))
        if clip.read_bytes() != data:
            faults.append((seed, "the input has changed"))
        if result.exit_code not in (0, 1, 3):
            faults.append((seed, f"exit code {result.exit_code}"))
        is_whole = not out.exists() or count_frames(out) >= NUM_FRAMES
        is_noted = any(note in " ".join(result.stderr.split()) for note in NOTES)
        is_reported = result.exit_code != 0 or is_noted or suffix in UNDECLARED
        if not (is_whole or is_reported):
            faults.append((seed, f"{count_frames(out)} frames"))
        if result.exit_code in (0, 3) and {*folder.iterdir()} != {clip, out}:
            faults.append((seed, f"left over: {sorted(path.name for path in folder.iterdir())}"))
        shutil.rmtree(folder)
    assert faults == []
