"""``vrt export``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner, Result

from vrt_cli.main import app
from vrt_core import find_model
from vrt_core.models import load_network

SIZE = ("--height", "32", "--width", "32")


def vrt(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("space-time-small", SIZE, "is a chain; export one by one: sr-small, interpolate-small"),
        ("denoise-small", ("--height", "36", "--width", "32"), "height (36 px) must be a multiple of 8"),
        ("denoise-small", (*SIZE, "--frames", "1"), "frames (1) must be"),
        ("denoise-tiny", SIZE, "denoise-tiny"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    name: str, size: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    result = vrt("export", name, "-o", str(tmp_path / "model.onnx"), *size)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    result = vrt("export", "denoise-small", "-o", str(path), *SIZE)
    assert result.exit_code == 1
    assert "is there already; -y replaces it" in result.stderr
    assert path.read_text() == "mine"


@pytest.mark.slow
def test_a_shipped_model_leaves_as_onnx(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    result = vrt("export", "interpolate-small", "-o", str(path), *SIZE)
    assert result.exit_code == 0, result.output
    assert "clip (1, 4, 3, 32, 32), RGB in 0-1" in result.stderr
    torch.manual_seed(0)
    clip = torch.rand(1, 4, 3, 32, 32)
    output = runtime.InferenceSession(path).run(None, {"clip": clip.numpy()})[0]
    with torch.no_grad():
        expected = load_network(find_model("interpolate-small"))(clip)
    assert_close(torch.from_numpy(output), expected, rtol=1e-4, atol=1e-5)
