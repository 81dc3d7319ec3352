"""Order of image files."""

from pathlib import Path

from vrt_media.images import natural_key


def test_natural_order() -> None:
    names = ["f10.png", "f2.png", "F1.png", "f02b.png", "f2.tif"]
    assert [p.name for p in sorted(map(Path, names), key=natural_key)] == [
        *("F1.png", "f2.png", "f2.tif"),
        *("f02b.png", "f10.png"),
    ]
