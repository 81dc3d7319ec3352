"""Settings in TOML: printed, read as defaults, overridden by the command line."""

import os
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.helpers.video_files import make_video
from tests.helpers.vrt_restore import VrtRestore
from vrt_cli.main import app
from vrt_core import RestoreOptions

REQUIRED = ("in.mkv", "-o", "out.mkv", "-m", "same")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["restore", *map(str, words)])


def printed(*words: str | Path) -> dict[str, object]:
    result = run(*words, "--print-config")
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


def error(result: Result) -> str:
    """Return the message of a usage error, without its frame."""
    assert result.exit_code == 2
    return " ".join(result.stderr.replace("│", " ").split())


def test_what_is_printed_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    words = ["--sigma", "12.5", "--window", "8", "--crf", "20.5", "--compile", "--codec-option", "a=b"]
    words += ["--codec-option", 'c="d\\', "--preset", "\x7f\t\u00e9\U0001f600", "--strength", "0.5:1"]
    first = run(*REQUIRED, *words, "--print-config").stdout
    path.write_text(first, encoding="utf-8")
    assert run("--config", path, "--print-config").stdout == first
    values = tomllib.loads(first)
    assert values["codec-option"] == ["a=b", 'c="d\\']
    assert values["preset"] == "\x7f\t\u00e9\U0001f600"
    assert (values["sigma"], values["window"], values["crf"], values["compile"]) == ("12.5", 8, 20.5, True)
    assert "# frames is not set" in first
    assert not {"config", "print-config"} & values.keys()


def test_all_settings_are_printed() -> None:
    lines = run(*REQUIRED, "--print-config").stdout.splitlines()
    words = {line.removeprefix("# ").split()[0] for line in lines}
    assert {"clips", "output", "model", "sigma", "tile-overlap", "pix-fmt", "overwrite", "crop", "strength"} <= words


def test_the_command_line_overrides_the_file(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, path = make_video(tmp_path / "in.mkv", num_frames=2), tmp_path / "job.toml"
    path.write_text('window = 6\ntile_overlap = 16\nprecision = "bf16"\nstrength = 0.5\noverwrite = true\n')
    out = tmp_path / "out.mkv"
    out.write_text("an older one")
    assert vrt(clip, "-o", out, "--config", path, "--precision", "fp32", "--window", "4").exit_code == 0
    assert vrt.options == RestoreOptions(window_frames=4, tile_overlap_px=16, precision="fp32", strength=0.5)
    assert out.stat().st_size > 100


def test_a_file_can_name_input_and_output(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, path = make_video(tmp_path / "in.mkv", num_frames=2), tmp_path / "job.toml"
    path.write_text(f'clips = ["{clip}"]\noutput = "{tmp_path}/out.mkv"\n')
    assert vrt("--config", path).exit_code == 0
    assert (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sigm = 20", "'sigm' is no setting of vrt restore; the nearest is 'sigma'"),
        ("tile-overlaps = 20", "the nearest is 'tile-overlap'"),
        ('config = "other.toml"', "'config' is no setting"),
        ("[engine]\nwindow = 3", "'engine' is no setting"),
        ("sigma = [20]", "sigma must be a text or a number"),
        ("sigma = 2020-01-01", "sigma must be a text or a number"),
        ("window = true", "window must be a text or a number"),
        ("compile = 1", "compile must be true or false"),
        ('codec-option = "a=b"', "codec-option must be a list of texts"),
        ("window = 2.5", "--window"),
        ("window = 0", "--window"),
        ('deinterlace = "maybe"', "--deinterlace"),
        ("window =", "job.toml: Invalid value (at end of document)"),
        (b"\xff", "job.toml"),
    ],
)
def test_wrong_files_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, message: str
) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)  # short names, so that lines are not wrapped within words
    assert message in error(run(*REQUIRED, "--config", "job.toml"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in error(run(*REQUIRED, "--config", tmp_path / "no.toml"))


def test_names_that_are_no_text_are_refused() -> None:
    assert "no text in Unicode" in error(run(os.fsdecode(b"\xff.mkv"), *REQUIRED[1:], "--print-config"))


def test_defaults_are_those_of_the_command() -> None:
    values = printed(*REQUIRED)
    assert values["factor"] == 2
    assert values["strict"] is False
