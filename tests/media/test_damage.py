"""Damaged files: every frame comes, is replaced, or is accounted for."""

import random
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.helpers.damaged_files import cut_off, lose, overwrite, remux
from tests.helpers.video_files import make_video, needs_ffmpeg
from vrt_media.clip import MediaError
from vrt_media.reader import Trim, VideoReader

NUM_FRAMES = 36
SUFFIXES = (".mkv", ".mp4", ".ts", ".avi", ".flv")
CODECS = {
    "libx264": (".mkv", "yuv420p", {"g": "250"}),
    "libx265": (".mkv", "yuv420p", {"x265-params": "log-level=none"}),
    "mpeg2video": (".mkv", "yuv420p", {"bf": "2"}),
    "mpeg4": (".mkv", "yuv420p", {"bf": "2"}),
    "ffv1": (".mkv", "yuv420p", {}),
    "mjpeg": (".mkv", "yuvj420p", {}),
    "prores_ks": (".mov", "yuv422p10le", {}),
    "libvpx-vp9": (".mkv", "yuv420p", {"crf": "30", "b": "0"}),
    "libsvtav1": (".mkv", "yuv420p", {"preset": "12"}),
}


@pytest.fixture(autouse=True)
def quiet_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVT_LOG", "1")


def make(folder: Path, codec: str, num_frames: int = NUM_FRAMES) -> Path:
    suffix, pix_fmt, options = CODECS[codec]
    path = folder / f"whole{suffix}"
    return make_video(path, codec=codec, pix_fmt=pix_fmt, options=options, num_frames=num_frames)


def read(path: Path, trim: Trim | None = None, *, strict: bool = False) -> tuple[list[int | None], dict[str, int]]:
    """Return the time stamps of all frames, and the account of the damage."""
    notes: list[str] = []
    reader = VideoReader(path, trim, on_note=notes.append, strict=strict)
    try:
        stamps = [frame.pts for frame in reader.frames(lambda packet: None)]
    finally:
        reader.close()
    assert len([note for note in notes if ": frames " in note]) == len(reader.damage.counts)  # one note for each kind
    return stamps, reader.damage.counts


@pytest.mark.parametrize("codec", CODECS)
def test_whole_files_have_no_damage(tmp_path: Path, codec: str) -> None:
    stamps, damage = read(make(tmp_path, codec))
    assert len(stamps) == NUM_FRAMES
    assert damage == {}


@pytest.mark.parametrize("number", [1, 2, 7, 20, NUM_FRAMES - 1])
@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "libsvtav1"])  # its muxer checks the bytes
def test_a_damaged_packet_costs_no_frame(tmp_path: Path, codec: str, number: int) -> None:
    whole = make(tmp_path, codec)
    stamps, damage = read(overwrite(whole, tmp_path / f"in{whole.suffix}", [number]))
    assert stamps == read(whole)[0][damage.get("missing", 0) :]  # nothing before the first frame can be repeated
    assert damage.get("repeated", 0) + damage.get("missing", 0) >= 1


@pytest.mark.parametrize("number", [1, 2, 7, 20])
@pytest.mark.parametrize("codec", CODECS)
def test_a_lost_packet_costs_no_other_frame(tmp_path: Path, codec: str, number: int) -> None:
    whole = make(tmp_path, codec)
    stamps, damage = read(lose(whole, tmp_path / f"in{whole.suffix}", [number]))
    assert len(stamps) + damage.get("missing", 0) == NUM_FRAMES - 1
    assert set(stamps) < set(read(whole)[0])


def test_frames_that_refer_to_lost_ones_are_told(tmp_path: Path) -> None:
    """HEVC: libav leaves out all frames up to the next keyframe by default."""
    stamps, damage = read(lose(make(tmp_path, "libx265"), tmp_path / "in.mkv", [1]))
    assert len(stamps) == NUM_FRAMES - 1
    assert damage["concealed"] > 20


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_frames_before_the_first_keyframe_are_left_out(tmp_path: Path, codec: str) -> None:
    options = {"libx265": {"x265-params": "log-level=none:keyint=12:min-keyint=12"}}.get(codec, {"g": "12"})
    whole = make_video(tmp_path / "whole.ts", codec=codec, options=options, num_frames=48)
    path = tmp_path / "in.ts"
    path.write_bytes(whole.read_bytes()[whole.stat().st_size // 188 // 3 * 188 :])
    with av.open(str(path)) as container:
        num_packets = sum(packet.size > 0 for packet in container.demux(video=0))
    stamps, damage = read(path)
    reader = VideoReader(path, on_note=lambda note: None)
    assert all(start is not None and abs(start) < 1 for start in reader.damage.starts.values())  # from the file's start
    reader.close()
    assert set(damage) <= {"missing"}
    assert damage.get("missing", 0) < 20
    assert damage or codec == "mpeg2video"  # which can begin anywhere
    assert len(stamps) == num_packets - damage.get("missing", 0)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".mp4", "libx264"), (".avi", "mpeg4")])
@pytest.mark.parametrize("part", [0.5, 0.8])
def test_a_file_that_was_cut_off(tmp_path: Path, suffix: str, codec: str, part: float) -> None:
    whole = make_video(tmp_path / f"raw{suffix}", codec=codec, num_frames=100)
    if suffix == ".mp4":  # the index first, as on web sites
        with av.open(str(whole)) as a, av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "faststart"}) as b:
            stream = b.add_stream_from_template(a.streams.video[0])
            for packet in a.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    b.mux(packet)
        whole = tmp_path / "f.mp4"
    assert read(whole)[1] == {}
    stamps, damage = read(cut_off(whole, tmp_path / f"in{suffix}", part))
    assert 0 < len(stamps) < 100
    assert abs(len(stamps) + damage["truncated"] + damage.get("repeated", 0) - 100) <= 3


@pytest.mark.parametrize(("num_bytes", "truncated"), [(0, 0), (1, 1), (7, 1), (5000, 1)])
def test_y4m_that_ends_in_a_frame(tmp_path: Path, num_bytes: int, truncated: int) -> None:
    """Bytes after three whole frames, the head of a frame and its samples."""
    frame = b"FRAME\n" + bytes(48 * 64 * 3 // 2)
    clip = tmp_path / "in.y4m"
    clip.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip C420jpeg\n" + 3 * frame + (2 * frame)[:num_bytes])
    stamps, damage = read(clip)
    assert (len(stamps), damage) == (3 + num_bytes // len(frame), {"truncated": 1} if truncated else {})


def test_a_zeroed_tail(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mkv", num_frames=60)
    data = whole.read_bytes()
    path = tmp_path / "in.mkv"
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    stamps, damage = read(path)
    assert abs(len(stamps) + damage["truncated"] - 60) <= 1


@pytest.mark.parametrize("num_whole", [52, 58])
def test_a_file_that_lacks_its_last_frames(tmp_path: Path, num_whole: int) -> None:
    whole = make_video(tmp_path / "whole.mkv", codec="mjpeg", pix_fmt="yuvj420p", num_frames=60)
    with av.open(str(whole)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "in.mkv"
    path.write_bytes(whole.read_bytes()[: positions[num_whole]])
    stamps, damage = read(path)
    assert len(stamps) in (num_whole - 1, num_whole)
    assert damage == {"truncated": 60 - len(stamps)}


def test_a_hole_in_an_avi(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.avi", codec="mjpeg", pix_fmt="yuvj420p", num_frames=60)
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 20] = bytes(len(data) // 20)
    path = tmp_path / "in.avi"
    path.write_bytes(data)
    stamps, damage = read(path)
    assert damage
    assert len(stamps) > 50
    assert len(stamps) + damage.get("truncated", 0) == 60


def test_strict_reading_stops_at_the_first_damage(tmp_path: Path) -> None:
    path = overwrite(make(tmp_path, "mjpeg"), tmp_path / "in.mkv", [9, 12])
    with pytest.raises(MediaError, match=r"in\.mkv is damaged: 1 frame \(from 0\.360 s on\) cannot be decoded"):
        read(path, strict=True)
    read(make(tmp_path, "mjpeg"), strict=True)


def test_damage_outside_a_part_is_not_told(tmp_path: Path) -> None:
    path = overwrite(make(tmp_path, "mjpeg"), tmp_path / "in.mkv", [3, 30])
    assert read(path, Trim(start_frame=5, max_frames=10))[1] == {}
    assert read(path, Trim(start_seconds=Fraction(1, 2), stop_seconds=Fraction(1)))[1] == {}
    assert read(path, Trim(start_frame=3))[1] == {"repeated": 2}  # the first frame of the part is a substitute
    assert read(path, Trim(start_frame=4))[1] == {"repeated": 1}


@needs_ffmpeg
def test_packets_that_repeat_a_frame_are_no_damage(tmp_path: Path) -> None:
    """Theora has empty packets for them."""
    path = tmp_path / "in.ogv"
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=24:d=1", "-c:v", "libtheora"]
    subprocess.run(["ffmpeg", "-v", "error", *source, path], check=True)
    with av.open(str(path)) as container:
        num_empty = sum(not packet.size and packet.pts is not None for packet in container.demux(video=0))
    stamps, damage = read(path)
    assert num_empty > 0
    assert len(stamps) == 24 - num_empty
    assert damage == {}


def test_files_of_random_bytes_end_in_order(tmp_path: Path) -> None:
    """Whatever the bytes are: frames, or one `MediaError`."""
    whole = {suffix: make_video(tmp_path / f"whole{suffix}", codec="libx264", num_frames=24) for suffix in SUFFIXES}
    for seed in range(40):
        rng = random.Random(seed)
        suffix = rng.choice(SUFFIXES)
        data = bytearray(whole[suffix].read_bytes())
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = tmp_path / f"in{suffix}"
        path.write_bytes(data)
        try:
            stamps, _ = read(path)
        except MediaError:
            continue
        assert len(stamps) >= 1


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frames_that_lead_the_first_keyframe_are_left_out(tmp_path: Path, codec: str) -> None:
    """Open groups of pictures: the first frames shown refer to those before the cut."""
    parameters = "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0:log-level=none"
    name = {"libx264": "x264-params", "libx265": "x265-params"}[codec]
    whole = make_video(tmp_path / "whole.mkv", codec=codec, options={name: parameters}, num_frames=48)
    num_keyframes = 0

    def cut(packet: av.Packet, n: int) -> av.Packet | None:
        nonlocal num_keyframes
        num_keyframes += packet.is_keyframe
        return packet if num_keyframes > 1 else None

    path = remux(whole, tmp_path / "in.mkv", cut)
    with av.open(str(path)) as container:
        num_packets = sum(packet.size > 0 for packet in container.demux(video=0))
    stamps, damage = read(path)
    assert set(damage) == {"missing"}
    assert 0 < damage["missing"] <= 3
    assert len(stamps) == num_packets - damage["missing"]
