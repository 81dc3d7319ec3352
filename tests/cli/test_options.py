"""Options and errors of `vrt restore`, and `vrt info`."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import vrt_core
from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import write_image_file
from tests.helpers.video_files import make_video, picture
from tests.helpers.vrt_restore import VrtRestore
from vrt_cli.main import app
from vrt_cli.progress import FrameProgress
from vrt_core import InputError, RestoreOptions


def one_line(result: Result, code: int = 1) -> str:
    """Return the single line that reports an error."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("vrt: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_options_reach_the_engine(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=20)
    restorer = identity_restorer(sigma=True)
    (tmp_path / "cuts.txt").write_text("# scenes\n4\n12  # the bird\n\n")
    words = f"{clip} -o {tmp_path}/out.mkv --sigma 12.5 --device cpu --precision bf16 --window 8 --overlap 3 "
    words += (
        f"--tile 128x192 --tile-overlap 16 --factor 4 --compile --start 2 --cuts {tmp_path}/cuts.txt --strength 0.5"
    )
    result = vrt(*words.split(), restorer=restorer)
    assert result.exit_code == 0, result.stderr
    assert vrt.options == RestoreOptions(
        device="cpu",
        precision="bf16",
        window_frames=8,
        overlap_frames=3,
        tile_px=(128, 192),
        tile_overlap_px=16,
        factor=4,
        compile=True,
        sigma_255=12.5,
        cuts=(2, 10),
        strength=0.5,
    )
    assert restorer.stream_arguments["sigma_255"] == 12.5


def test_options_that_are_left_out_are_the_defaults_of_the_engine(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    assert vrt(clip, "-o", tmp_path / "out.mkv").exit_code == 0
    assert vrt.options == RestoreOptions()


@pytest.mark.parametrize(
    ("given", "expected"), [("auto", "auto"), ("off", "off"), ("7", (7,)), ("9,3, 3", (3, 9)), ("0,5", (5,))]
)
def test_cuts(tmp_path: Path, vrt: VrtRestore, given: str, expected: object) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    assert vrt(clip, "-o", tmp_path / "o.mkv", "--cuts", given).exit_code == 0
    assert vrt.options.cuts == expected


@pytest.mark.parametrize(
    "words",
    [
        ("--sigma", "60"),
        ("--cuts", "never"),
        ("--tile", "big"),
        ("--fps", "0"),
        ("--codec-option", "crf"),
        ("--frames", "0"),
        ("--strength", "1.5"),
        ("--strength", "0.5:"),
        ("--strength", "1:0:1"),
        ("--sigma", "20"),  # the model takes none
    ],
)
def test_usage_errors(tmp_path: Path, vrt: VrtRestore, words: tuple[str, str]) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    result = vrt(clip, "-o", tmp_path / "o.mkv", *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr
    assert not (tmp_path / "o.mkv").exists()


@pytest.mark.parametrize(("tags", "weights"), [((1, 1, 1, 1), (0.2126, 0.0722)), ((6, 1, 6, 6), (0.299, 0.114))])
def test_luma_of_strength_is_that_of_the_clip(
    tmp_path: Path, vrt: VrtRestore, tags: tuple[int, int, int, int], weights: tuple[float, float]
) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2, tags=tags)
    assert vrt(clip, "-o", tmp_path / "out.mkv", "--strength", "0.8:0.25").exit_code == 0
    assert vrt.options == RestoreOptions(strength=0.8, chroma_strength=0.25, luma_weights=weights)


def test_strength_is_no_option_of_interpolation(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    words = ["restore", str(clip), "-o", str(tmp_path / "o.mkv"), "-m", "interpolate-small", "--strength", "0.5"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "interpolate-small interpolates" in " ".join(result.stderr.replace("│", " ").split())


def test_a_missing_noise_level_is_a_usage_error(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    result = vrt(clip, "-o", tmp_path / "o.mkv", restorer=identity_restorer(sigma=True))
    assert result.exit_code == 2
    assert "--sigma" in result.stderr


def test_nothing_is_written_over(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=2), tmp_path / "out.mkv"
    out.write_text("precious")
    assert "-y replaces it" in one_line(vrt(clip, "-o", out))
    assert out.read_text() == "precious"
    assert "is the input" in one_line(vrt(clip, "-o", clip, "-y"))
    assert vrt(clip, "-o", out, "-y").exit_code == 0
    assert out.stat().st_size > 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_errors_are_one_line(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)
    (tmp_path / "text.mkv").write_text("not a video")
    make_video(tmp_path / "sound.mkv", num_frames=2, audio=True)
    (tmp_path / "none.mkv").touch()
    gone, text, none = (tmp_path / f"{name}.mkv" for name in ("gone", "text", "none"))
    assert one_line(vrt(gone, "-o", tmp_path / "o.mkv")) == f"vrt: {gone}: no such file or folder\n"
    assert f"vrt: {text}: no video or image that can be read" in one_line(vrt(text, "-o", tmp_path / "o.mkv"))
    assert one_line(vrt(none, "-o", tmp_path / "o.mkv")) == f"vrt: {none}: it is empty (0 bytes)\n"
    assert "make it first" in one_line(vrt(clip, "-o", tmp_path / "no" / "o.mkv"))
    assert "no such encoder" in one_line(vrt(clip, "-o", tmp_path / "o.mkv", "--codec", "x265"))
    assert "not video" in one_line(vrt(clip, "-o", tmp_path / "o.mkv", "--codec", "aac"))
    assert "no option 'crf'" in one_line(vrt(clip, "-o", tmp_path / "o.mkv", "--codec", "ffv1", "--crf", "3"))
    assert "no such pixel format" in one_line(vrt(clip, "-o", tmp_path / "o.mkv", "--pix-fmt", "yuv421p"))
    assert "libx264 takes" in one_line(vrt(clip, "-o", tmp_path / "o.mkv", "--pix-fmt", "rgb24"))
    assert "names no video container" in one_line(vrt(clip, "-o", tmp_path / "o.xyz"))
    assert ".webm cannot hold" in one_line(vrt(clip, "-o", tmp_path / "o.webm", "--codec", "libx264"))
    assert "no frame 5" in one_line(vrt(clip, "-o", tmp_path / "o.mkv", "--start", "5"))
    assert "written as .png" in one_line(vrt(clip, "-o", tmp_path / "o.jpg"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "none.mkv", "sound.mkv", "text.mkv"]


def test_errors_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2)

    def load(name: str, options: RestoreOptions, **overrides: object) -> None:
        raise InputError("tile_px (7) must be\n a multiple of 8, tile_overlap_px (9) not")

    monkeypatch.setattr(vrt_core, "load_restorer", load)
    words = ["restore", str(clip), "-o", str(tmp_path / "o.mkv"), "-m", "x"]
    assert (
        one_line(CliRunner().invoke(app, words)) == "vrt: --tile (7) must be a multiple of 8, --tile-overlap (9) not\n"
    )
    assert isinstance(CliRunner().invoke(app, ["--debug", *words]).exception, InputError)


def test_info_on_a_video(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mp4", codec="libx264", audio=True, rotation=90, tags=(9, 1, 9, 16))
    text = CliRunner().invoke(app, ["info", str(clip)]).stdout
    for part in (
        "64x48",
        "yuv420p, 8 bits",
        "BT.2020, limited range",
        "12, 25 fps",
        "aac, 48000 Hz, stereo",
        "90 degrees",
    ):
        assert part in text


def test_info_on_untagged_video_and_images(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=2, tags=None)
    assert (
        "not tagged, read as BT.601, limited range (not tagged)" in CliRunner().invoke(app, ["info", str(clip)]).stdout
    )
    (tmp_path / "images").mkdir()
    for n in range(3):
        write_image_file(tmp_path / "images" / f"{n}.png", picture(n))
    text = CliRunner().invoke(app, ["info", str(tmp_path / "images")]).stdout
    assert "3, 0.png to 2.png" in text
    assert "64x48" in text
    assert "rgb24, 8 bits" in CliRunner().invoke(app, ["info", str(tmp_path / "images" / "0.png")]).stdout


def test_info_on_nonsense(tmp_path: Path) -> None:
    (tmp_path / "x.mkv").write_text("?")
    assert "x.mkv: no video or image" in one_line(CliRunner().invoke(app, ["info", str(tmp_path / "x.mkv")]))
    assert "gone: No such file" in one_line(CliRunner().invoke(app, ["info", str(tmp_path / "gone")]))


def test_help_lists_the_commands() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    for command in ("restore", "info", "models", "download"):
        assert command in text


def test_what_every_program_answers() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{vrt_core.__version__}\n"
    assert CliRunner().invoke(app, ["-h"]).stdout == CliRunner().invoke(app, ["--help"]).stdout
    assert "--sigma" in CliRunner().invoke(app, ["restore", "-h"]).stdout


def test_help_comes_without_loading_torch() -> None:
    code = "import sys; from vrt_cli.main import app; app(['restore', '--help'], standalone_mode=False); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_progress_of_a_file_that_announces_too_few_frames() -> None:
    screen = io.StringIO()
    with FrameProgress(Console(file=screen, force_terminal=True, width=120), label="x", total=9) as bar:
        bar.on_frame(9)
        bar.on_frame(10)
    assert "10/? frames" in screen.getvalue()
