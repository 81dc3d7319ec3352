"""``vrt models``, ``vrt download``, and ``vrt info`` on weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner, Result

from vrt_cli.commands.models import describe_weights
from vrt_cli.main import app
from vrt_core import MODELS, WeightsError
from vrt_core.models import WEIGHT_SUFFIXES, load_weights, save_weights

SMALLEST = "009_VRT_videofi_Vimeo_4frames"


@pytest.fixture(autouse=True)
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VRT_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint in the shape of the smallest official model."""
    from vrt_core import build_network

    folder = tmp_path_factory.mktemp("shelf")
    torch.save({"params": build_network(**MODELS[SMALLEST].config).state_dict()}, folder / f"{SMALLEST}.pth")
    return folder


def vrt(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def row_of(name: str) -> str:
    return next(line for line in vrt("models").stdout.splitlines() if name in line)


def test_models_lists_every_model_in_one_line_each() -> None:
    result = vrt("models")
    assert result.exit_code == 0
    for card in MODELS.values():
        assert card.licence in row_of(card.name)
        assert f"x{card.scale}" in row_of(card.name)
    assert "not downloaded: vrt download 001" in row_of("001_VRT_videosr_bi_REDS_6frames")
    assert "~123 MB" in row_of("001_VRT_videosr_bi_REDS_6frames")
    assert "not downloaded: vrt download spynet" in row_of("spynet")
    for name in ("sr-small", "space-time-small"):
        assert "shipped" in row_of(name)
    assert result.stderr == ""


def test_download_shows_the_licence_and_prints_the_path(models_folder: Path, shelf: Path) -> None:
    result = vrt("download", "009", "--from", str(shelf))
    assert result.exit_code == 0, result.output
    path = models_folder / f"{SMALLEST}.safetensors"
    assert result.stdout == f"{path}\n"
    assert "CC-BY-NC-4.0" in result.stderr
    assert "\n\n" not in result.stderr
    assert len(load_weights(MODELS[SMALLEST])) == 1240
    assert "downloaded" in row_of(SMALLEST)
    assert "not downloaded" not in row_of(SMALLEST)
    assert " 40 MB" in row_of(SMALLEST)


def test_download_to_another_folder(tmp_path: Path, shelf: Path) -> None:
    result = vrt("download", SMALLEST, "--from", str(shelf), "--to", str(tmp_path / "there"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "there" / f"{SMALLEST}.safetensors").is_file()
    assert "VRT_MODELS_DIR" in result.stderr


def test_a_chain_downloads_its_links(models_folder: Path, shelf: Path) -> None:
    result = vrt("download", "010", "--from", str(shelf))
    assert result.exit_code == 1
    assert "003_VRT_videosr_bi_Vimeo_7frames.pth" in result.stderr  # the first link, which is not on the shelf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("download", "00"), "is not one name but the beginning of 9"),
        (("download", "deblr"), "is unknown"),
        (("download", "001", "--from", "/no/such"), "neither a file nor a folder"),
        (("download", "001", "--from", "ftp://x/y"), "must be an http or https address"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = vrt(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("vrt: ")
    assert result.stdout == ""


def test_info_describes_weights(tmp_path: Path, shelf: Path) -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(describe_weights(shelf / f"{SMALLEST}.pth"))
    text = console.export_text()
    for part in (SMALLEST, "9,943,387", "float32", "CC-BY-NC-4.0", "PyTorch checkpoint", "sha256"):
        assert part in text
    (tmp_path / "a.pth").write_text("<html>")
    with pytest.raises(WeightsError, match="web page"):
        describe_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", WEIGHT_SUFFIXES)
def test_info_recognizes_weights_by_every_suffix(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_text("<html>")
    result = vrt("info", str(tmp_path / f"a{suffix}"))
    assert "is a web page, not a weights file" in result.stderr


def test_info_names_all_models_that_are_alike(tmp_path: Path) -> None:
    with torch.device("meta"):
        from vrt_core import build_network

        shapes = build_network(**MODELS["005_VRT_videodeblurring_DVD"].config).state_dict()
    state = {name: torch.zeros(tensor.shape, dtype=torch.float16) for name, tensor in shapes.items()}
    save_weights(tmp_path / "a.safetensors", state, dtype=torch.float16)
    console = Console(width=200, record=True, quiet=False, stderr=True)
    with console.capture() as capture:
        console.print(describe_weights(tmp_path / "a.safetensors"))
    assert "005_VRT_videodeblurring_DVD or 006_VRT" in capture.get()
    assert "the name of the file decides" in capture.get()
    assert "float16" in capture.get()
