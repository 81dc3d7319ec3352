"""Closed and stalled streams, strange names, terminals without a width, lists of cuts as editors save them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_pipes import IDENTITY_VRT, ROOT
from tests.helpers.image_files import read_image_file, write_image_file
from tests.helpers.video_files import make_video, picture, read_planes
from tests.helpers.vrt_restore import VrtRestore

TIMEOUT_SECONDS = 120


@pytest.mark.parametrize(
    ("redirection", "arguments", "message"),
    [
        (">&-", "in.mkv -o -", "standard output, which is closed"),
        ("<&-", "- -o out.mkv", "standard input, which is clo"),
    ],
)
def test_closed_standard_streams(tmp_path: Path, redirection: str, arguments: str, message: str) -> None:
    make_video(tmp_path / "in.mkv", num_frames=2)
    program = f"cd {ROOT} && exec {' '.join(IDENTITY_VRT)} {arguments.replace('in.mkv', str(tmp_path / 'in.mkv'))}"
    program = program.replace("out.mkv", str(tmp_path / "out.mkv"))
    done = subprocess.run(["sh", "-c", f"{program} {redirection}"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_without_a_width(tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    result = vrt(make_video(tmp_path / "in.mkv", num_frames=2, audio=True), "-o", tmp_path / "out.webm")
    assert "2 frames in" in result.stderr
    assert "left out: audio stream 1 (aac)" in result.stderr


def test_sigterm_while_the_input_stalls(tmp_path: Path) -> None:
    """The program gets ten frames, and waits for more until it is stopped."""
    out = tmp_path / "out.mkv"
    process = subprocess.Popen(
        [*IDENTITY_VRT, "-", "-o", out], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    )
    assert process.stdin is not None
    assert process.stderr is not None
    header = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420jpeg\n"
    process.stdin.write(header + 60 * (b"FRAME\n" + bytes(16 * 16 * 3 // 2)))
    process.stdin.flush()
    line = process.stderr.readline()  # the job has begun
    assert b"same on cpu" in line
    process.send_signal(signal.SIGTERM)
    messages = process.stderr.read().decode()
    assert process.wait(TIMEOUT_SECONDS) == 128 + signal.SIGTERM
    assert "stopped: " in messages
    process.stdin.close()


def test_a_pipe_that_breaks_is_told_as_a_pipe(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=200)
    with subprocess.Popen([*IDENTITY_VRT, clip, "-o", "-"], cwd=ROOT, stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(20000)
        process.stdout.close()
        messages = process.stderr.read().decode()
    assert " frames written to standard output" in messages
    assert "kept in" not in messages


@pytest.mark.parametrize("name", ["12:30 take.mkv", "Movie: Title.mkv", "concat:a|b.mkv", "a%03d.mkv", "[x] *?.mkv"])
def test_names_are_neither_protocols_nor_patterns(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "clip.mkv", num_frames=3).rename(name)
    assert vrt(name, "-o", f"out {name}").exit_code == 0
    assert vrt(f"out {name}", "-o", "last.mkv").exit_code == 0
    assert len(read_planes(Path("last.mkv"))) == 3


@pytest.mark.parametrize("name", ["img%03d.png", "12:30.png", "a*[b]?.png", "data:x.png"])
def test_names_of_images_are_no_patterns(tmp_path: Path, vrt: VrtRestore, name: str) -> None:
    (tmp_path / "in").mkdir()
    write_image_file(tmp_path / "in" / name, picture(1))
    assert vrt(tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert (read_image_file(tmp_path / "out" / name) == picture(1)).all()


@pytest.mark.parametrize("text", ["1e-7", "0", "nan", "1001", "1/0"])
def test_rates_that_no_clip_has(tmp_path: Path, vrt: VrtRestore, text: str) -> None:
    write_image_file(tmp_path / "a.png", picture(1))
    result = vrt(tmp_path / "a.png", "-o", tmp_path / "out.mkv", "--fps", text)
    assert result.exit_code == 2
    assert "is no rate of 0.001 to 1000" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf2\r\n4\r\n",
        "2\n4\n".encode("utf-16"),
        "\ufeff2\n4\n".encode("utf-16-be"),
        "2 # Stra\xdfe\n4".encode("latin-1"),
    ],
    ids=["BOM", "UTF-16 LE", "UTF-16 BE", "Latin-1 comment"],
)
def test_files_of_cuts_in_other_encodings(tmp_path: Path, vrt: VrtRestore, data: bytes) -> None:
    (tmp_path / "cuts.txt").write_bytes(data)
    clip = make_video(tmp_path / "in.mkv", num_frames=6)
    result = vrt(clip, "-o", tmp_path / "out.mkv", "--cuts", tmp_path / "cuts.txt")
    assert result.exit_code == 0, result.stderr
    assert vrt.options.cuts == (2, 4)


def test_long_lists_of_cuts(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, cuts = make_video(tmp_path / "in.mkv", num_frames=3), list(range(1, 2000))
    assert vrt(clip, "-o", tmp_path / "out.mkv", "--cuts", ",".join(map(str, cuts))).exit_code == 0
    assert vrt.options.cuts == tuple(cuts)
    assert vrt(clip, "-o", tmp_path / "x.mkv", "--cuts", ",".join(map(str, cuts)) + ",x").exit_code == 2


def test_info_of_a_name_with_brackets(tmp_path: Path) -> None:
    source = min((ROOT / "weights").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    weights = tmp_path / "[bold]x.safetensors"
    weights.write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "vrt_cli.main", "info", str(weights)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "[bold]x.safetensors" in done.stdout
