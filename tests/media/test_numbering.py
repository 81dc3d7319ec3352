"""Numbers that the names of a sequence of images lack."""

from fractions import Fraction
from pathlib import Path

import pytest

from tests.helpers.image_files import noise_16_bit, write_image_file
from vrt_media.images import ImageReader
from vrt_media.numbering import describe_gaps


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"{n:04d}" for n in (*range(12), *range(15, 20))], "0012 to 0014, 3 images in all"),
        ([f"a{n}b" for n in (8, 9, 11, 12)], "a10b, 1 image in all"),
        (["1", "2", "4", "5", "7"], "3, 6, 2 images in all"),
        (["v2_10", "v2_20", "v2_40", "v2_50"], "v2_30, 1 image in all"),  # steps of 10
        (["a1", "a2", "a3", "b7", "b9", "b10"], "b8, 1 image in all"),
        ([str(n) for n in range(100) if n % 3], "3, 6, 9, 12, 15 and 27 further gaps, 32 images in all"),
        (["1", "2", "3"], ""),
        (["3", "5", "7"], ""),
        (["9"], ""),
        (["one", "two"], ""),
        (["IMG_093011", "IMG_093012", "IMG_101543"], ""),  # times
        (["7", "007", "8"], ""),
    ],
)
def test_gaps(names: list[str], expected: str) -> None:
    assert describe_gaps(Path(f"{name}.png") for name in names) == expected


def test_the_reader_names_them_once_and_keeps_the_order(tmp_path: Path) -> None:
    for n in (8, 9, 12, 13):
        write_image_file(tmp_path / f"shot_{n}.png", noise_16_bit(n))
    notes: list[str] = []
    reader = ImageReader(tmp_path, rate=Fraction(24), on_note=notes.append)
    assert [path.stem for path in reader.paths] == ["shot_8", "shot_9", "shot_12", "shot_13"]
    assert [frame.pts for frame in reader.frames(lambda packet: None)] == [0, 1, 2, 3]
    assert len(notes) == 1
    assert "its numbering has gaps (shot_10 to shot_11, 2 images in all)" in notes[0]
    ImageReader(tmp_path, rate=Fraction(24), limit=2, on_note=notes.append)  # a part without a gap
    assert len(notes) == 1
