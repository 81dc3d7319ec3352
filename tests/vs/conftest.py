"""Fixtures of the filter's tests: VapourSynth's settings are restored; vspipe and tiny models are set up once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.vs.real import CUT, SCRIPT, Pipe, make_models


@pytest.fixture(autouse=True)
def _core_settings() -> Iterator[None]:
    threads, cache = vs.core.num_threads, vs.core.max_cache_size
    yield
    vs.core.num_threads, vs.core.max_cache_size = threads, cache


@pytest.fixture(scope="session")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Pipe:
    return Pipe.configured(tmp_path_factory.mktemp("vspipe"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def clip() -> torch.Tensor:
    """(11, 3, 33, 38): cross-fades, a cut, a last window that starts earlier, and sizes that need padding."""
    return torch.rand(11, 3, 33, 38, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def script(tmp_path: Path, clip: torch.Tensor) -> Callable[..., Path]:
    """Writes a script that restores the clip."""

    def write(restoring: str, pixels: torch.Tensor = clip) -> Path:
        np.save(tmp_path / "pixels.npy", pixels.numpy())
        text = SCRIPT.format(pixels=tmp_path / "pixels.npy", cut=CUT, restoring=restoring)
        (tmp_path / "script.vpy").write_text(text)
        return tmp_path / "script.vpy"

    return write
