"""`vrt scenes`: the list of cuts that `vrt restore --cuts` reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.helpers.image_files import write_image_file
from tests.helpers.interlaced_files import picture_frame, write_frames
from tests.helpers.video_files import make_video
from tests.helpers.vrt_restore import VrtRestore
from vrt_cli.main import app

SIZE = (96, 128)
CUTS = (5, 12, 17)


def scene(number: int) -> np.ndarray:
    """Return a picture of coarse noise, (H, W, 3), another one for each number."""
    cells = np.random.default_rng(number).integers(30, 226, (6, 8, 3)).astype(np.uint8)
    return cells.repeat(16, 0).repeat(16, 1)


def frame(n: int) -> np.ndarray:
    """Return frame n of a film with cuts."""
    return scene(sum(n >= cut for cut in CUTS))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    frames = [picture_frame(n, make=frame) for n in range(20)]
    return write_frames(tmp_path / "film.mkv", frames, stamps=[n if n < 10 else n + 5 for n in range(20)])


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["scenes", *map(str, words)])


def test_numbers_are_printed_one_a_line(film: Path) -> None:
    result = run(film)
    assert (result.exit_code, result.stdout) == (0, "5\n12\n17\n")


def test_a_file_of_them_is_what_restore_reads(tmp_path: Path, film: Path, vrt: VrtRestore) -> None:
    assert run(film, "-o", tmp_path / "cuts.txt").exit_code == 0
    result = vrt(film, "-o", tmp_path / "out.mkv", "--cuts", tmp_path / "cuts.txt")
    assert result.exit_code == 0
    assert vrt.options.cuts == CUTS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cuts.txt", "film.mkv", "out.mkv"]


def test_objects_have_the_time_stamps_of_the_file(film: Path) -> None:
    lines = run(film, "--json").stdout.splitlines()
    expected = [(5, 0.2), (12, 17 / 25), (17, 22 / 25)]
    assert [tuple(json.loads(line).values()) for line in lines] == expected
    assert json.loads(lines[0]) == {"frame": 5, "seconds": 0.2}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--start", "4"), [5, 12, 17]),
        (("--start", "5"), [12, 17]),  # the first frame begins no scene
        (("--start", "4", "--frames", "8"), [5]),
        (("--start", "4", "--frames", "9"), [5, 12]),
        (("--frames", "5"), []),
        (("--crop", "8:8:0:0"), []),  # too small for the detector
    ],
)
def test_parts(film: Path, words: tuple[str, ...], expected: list[int]) -> None:
    result = run(film, *words)
    assert result.exit_code == 0
    assert [int(line) for line in result.stdout.split()] == expected
    stamps = [json.loads(line)["seconds"] for line in run(film, *words, "--json").stdout.splitlines()]
    assert stamps == [{5: 0.2, 12: 0.68, 17: 0.88}[n] for n in expected]


def test_images(tmp_path: Path) -> None:
    for n in range(8):
        write_image_file(tmp_path / f"{n}.png", frame(n))
    assert run(tmp_path, "--json", "--fps", "10").stdout == '{"frame": 5, "seconds": 0.5}\n'


def test_errors(tmp_path: Path, film: Path) -> None:
    content = film.read_bytes()
    (tmp_path / "cuts.txt").write_text("precious")
    for words, message in (
        ((film, "-o", tmp_path / "cuts.txt"), "cuts.txt is there already; -y replaces it"),
        ((film, "-o", film, "-y"), "is the input"),
        ((film, "-o", tmp_path / "no" / "cuts.txt"), "make it first"),
        ((film, "-o", tmp_path), "is a folder"),
        ((film, "--start", "20"), "--start 20: the input has no such frame, it ends after 20 frames"),
        ((tmp_path / "gone.mkv",), "gone.mkv"),
    ):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (1, ""), words
        assert message in result.stderr
    assert film.read_bytes() == content
    assert (tmp_path / "cuts.txt").read_text() == "precious"
    assert run(film, "-o", tmp_path / "cuts.txt", "-y").exit_code == 0
    assert (tmp_path / "cuts.txt").read_text() == "5\n12\n17\n"


def test_one_scene_has_no_cuts(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", num_frames=10, size=SIZE)
    assert run(clip).stdout == ""
