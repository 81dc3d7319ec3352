"""Memory: the tile follows from the estimate, and from what really happens."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.fake_restorers import fake_restorer, fake_runner, network_of, random_clip
from vrt_core.errors import OutOfMemoryError
from vrt_core.hardware.devices import is_out_of_memory, usable_bytes
from vrt_core.inference.memory import estimate_memory
from vrt_core.options import TilePx

ROOT = Path(__file__).parents[3]


def test_out_of_memory_shrinks_the_tile_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    restorer = fake_restorer(tile_px=64)
    clip = random_clip(9, 70, 100)
    results = []
    with caplog.at_level(logging.WARNING):
        for frame in restorer.stream(clip, cuts="off"):
            results.append(frame)
            if len(results) == 4:
                network_of(restorer).limit_px = 20 * 20  # less is free from now on
    assert "out of memory with tiles of 64x64 px; going on with 32x32 px" in caplog.text
    assert restorer.runners[0].tile_size(70, 100) == (8, 8)
    assert torch.equal(torch.stack(results[:4]), fake_restorer(tile_px=64).restore(clip, cuts="off")[:4])
    assert torch.equal(results[-1], fake_restorer(tile_px=8).restore(clip, cuts="off")[-1])  # a whole window anew
    assert len(results) == 9


def test_progress_survives_a_change_of_tiles() -> None:
    restorer = fake_restorer(tile_px=0)
    network_of(restorer).limit_px = 32 * 32
    steps: list[tuple[int, int | None]] = []
    restorer.restore(random_clip(9, 40, 40), cuts="off", on_step=lambda *step: steps.append(step))
    assert restorer.runners[0].tile_size(40, 40) == (32, 32)
    assert steps[-1] == (4 * 4, 4 * 4)
    assert [done for done, _ in steps] == list(range(1, 17))


def test_no_tile_is_small_enough(caplog: pytest.LogCaptureFixture) -> None:
    restorer = fake_restorer(min_px=16)
    network_of(restorer).limit_px = 1
    with pytest.raises(
        OutOfMemoryError, match="model fake is out of memory with tiles of 16x16 px, the smallest"
    ) as caught:
        restorer.restore(random_clip(3, 40, 40))
    assert isinstance(caught.value.__cause__, torch.cuda.OutOfMemoryError)
    assert "out of memory with tiles of 40x40 px; going on with 32x32 px" in caplog.text


def test_other_errors_are_not_taken_for_it() -> None:
    restorer = fake_restorer()

    def fail(clip: torch.Tensor) -> None:
        raise RuntimeError("a plain fault")

    network_of(restorer).before = fail
    with pytest.raises(RuntimeError, match="a plain fault"):
        restorer.restore(random_clip(3, 40, 40))


HALF = """
import resource
import sys
import torch
from vrt_core import build_network, estimate_memory, find_model
config = dict(find_model("sr-small").config)
config["depths"] = [min(depth, 1) for depth in config["depths"]]
network = build_network(**config).to_precision(torch.float16)
clip, before = torch.rand(1, 2, 3, 80, 96), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    network(clip)
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(held * (1 if sys.platform == "darwin" else 1024), estimate_memory(config, 2, 80, 96, torch.float16))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no module resource")
def test_half_precision_on_a_cpu_takes_what_was_foreseen() -> None:
    done = subprocess.run([sys.executable, "-c", HALF], cwd=ROOT, check=True, capture_output=True, text=True)
    held, estimate = map(int, done.stdout.split())
    assert held < 1.2 * estimate  # what kernels set up once included


class HostError(Exception):
    pass


@pytest.mark.parametrize("kind", [HostError, MemoryError])
def test_the_host_may_know_more_kinds_of_out_of_memory(kind: type[Exception]) -> None:
    def fail(clip: torch.Tensor) -> None:
        if clip.shape[-1] > 16:
            raise kind

    restorer = fake_restorer(is_oom=lambda error: isinstance(error, HostError), tile_px=32)
    network_of(restorer).before = fail
    restorer.restore(random_clip(3, 40, 40))
    assert restorer.runners[0].tile_size(40, 40) == (8, 8)


def test_flows_that_do_not_fit_together_are_found_one_by_one() -> None:
    restorer = fake_restorer()
    clip = random_clip(5, 16, 16)
    expected = restorer.restore(clip)
    both = network_of(restorer).flows

    def flows(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(a) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")
        return tuple(level[:1] for level in both(torch.cat((a, b)), torch.cat((b, a))))

    network_of(restorer).flows = flows
    assert torch.equal(restorer.restore(clip), expected)


def test_memory_too_small_for_flows_or_weights_is_named() -> None:
    def fail(*inputs: object) -> tuple[torch.Tensor, ...]:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")

    restorer = fake_restorer()
    network_of(restorer).flows = lambda a, b: fail(a, b)
    with pytest.raises(OutOfMemoryError, match="model fake is out of memory: the flows of frames of 16x24 px"):
        restorer.restore(random_clip(3, 16, 24), cuts="off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network_of(restorer)), "to_precision", fail)
        with pytest.raises(OutOfMemoryError, match="model fake is out of memory: the weights do not fit on cpu"):
            fake_restorer()


@pytest.mark.parametrize(
    ("largest", "tile"),
    [
        ((8, 8), (64, 64)),  # too little for any
        ((1000, 1000), (504, 512)),
        ((264, 280), (272, 192)),  # six of these compute less than nine of 264x264
        ((504, 288), (504, 272)),  # an even half and the overlap, and no more
    ],
)
def test_tile_follows_from_the_budget(
    largest: tuple[int, int], tile: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    config = network_of(fake_restorer(min_px=64)).config
    restorer = fake_restorer(min_px=64, memory_bytes=estimate_memory(config, 4, *largest))
    with caplog.at_level(logging.INFO, logger="vrt_core"):
        assert restorer.runners[0].tile_size(500, 510) == tile
    assert f"tiles of {tile[0]}x{tile[1]} px" in caplog.text
    assert restorer.estimate_bytes(100, 500, 510) >= estimate_memory(config, 4, *tile)


@pytest.mark.parametrize(("tile_px", "expected"), [(32, (32, 32)), (0, (104, 104)), ((32, 64), (32, 64))])
def test_a_given_tile_size_is_used(tile_px: TilePx, expected: tuple[int, int]) -> None:
    assert fake_runner(tile_px=tile_px, memory_bytes=1).tile_size(100, 100) == expected


def test_known_errors_of_devices() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert is_out_of_memory(MemoryError())
    for message in (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "HIP error: hipErrorOutOfMemory",
        "UR error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "Invalid buffer size: 26.82 GB",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes.",
    ):
        assert is_out_of_memory(RuntimeError(message)), message
    assert not is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/meminfo": "MemTotal: 99 kB\nMemAvailable: 4000 kB"}, 4000 << 9),  # half of it
        (
            {
                "/proc/meminfo": "MemAvailable: 4000 kB",
                "/sys/fs/cgroup/memory.max": "3000000",
                "/sys/fs/cgroup/memory.current": "2500000",
                "/sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 100000",
            },
            (3000000 - 2500000 + 100000) // 2,  # the container's limit counts
        ),
        ({"/proc/meminfo": "MemAvailable: 4000 kB", "/sys/fs/cgroup/memory.max": "max"}, 4000 << 9),
        ({}, 2 << 30),  # not Linux
    ],
)
def test_usable_memory_of_the_host(files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_text(path: Path, *args: object, **kwargs: object) -> str:
        if path.as_posix() not in files:
            raise FileNotFoundError(path)
        return files[path.as_posix()]

    monkeypatch.setattr(Path, "read_text", read_text)
    assert usable_bytes(torch.device("cpu")) == expected
