"""Memory: the tile follows from the estimate, and from what really happens."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.core.fakes import fake_link, random_clip
from vrt_core.inference.memory import estimate_memory, is_out_of_memory, usable_bytes

ROOT = Path(__file__).parents[3]


def test_out_of_memory_shrinks_the_tile_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    link = fake_link(tile_px=64)
    clip = random_clip(9, 70, 100)
    found = []
    with caplog.at_level(logging.WARNING):
        for frame in link.stream(clip, cuts="off"):
            found.append(frame)
            if len(found) == 4:
                link.network.limit_px = 20 * 20  # less is free from now on
    assert "out of memory with tiles of 64x64 px; going on with 32x32 px" in caplog.text
    assert link.tile_for(70, 100) == (8, 8)
    assert torch.equal(torch.stack(found[:4]), fake_link(tile_px=64).restore(clip, cuts="off")[:4])
    assert torch.equal(found[-1], fake_link(tile_px=8).restore(clip, cuts="off")[-1])  # a whole window anew
    assert len(found) == 9


def test_progress_survives_a_change_of_tiles() -> None:
    link = fake_link(tile_px=0)
    link.network.limit_px = 32 * 32
    steps: list[tuple[int, int | None]] = []
    link.restore(random_clip(9, 40, 40), cuts="off", on_step=lambda *step: steps.append(step))
    assert link.tile_for(40, 40) == (32, 32)
    assert steps[-1] == (4 * 4, 4 * 4)
    assert [done for done, _ in steps] == list(range(1, 17))


def test_no_tile_is_small_enough(caplog: pytest.LogCaptureFixture) -> None:
    link = fake_link(least_px=16)
    link.network.limit_px = 1
    with pytest.raises(torch.cuda.OutOfMemoryError):
        link.restore(random_clip(3, 40, 40))
    assert "out of memory with tiles of 16x16 px, the smallest it takes" in caplog.text


def test_other_errors_are_not_taken_for_it() -> None:
    link = fake_link()

    def fail(clip: torch.Tensor) -> None:
        raise RuntimeError("a plain fault")

    link.network.before = fail
    with pytest.raises(RuntimeError, match="a plain fault"):
        link.restore(random_clip(3, 40, 40))


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

    link = fake_link(is_oom=lambda error: isinstance(error, HostError), tile_px=32)
    link.network.before = fail
    link.restore(random_clip(3, 40, 40))
    assert link.tile_for(40, 40) == (8, 8)


def test_flows_that_do_not_fit_together_are_found_one_by_one() -> None:
    link = fake_link()
    clip = random_clip(5, 16, 16)
    expected = link.restore(clip)
    both = link.network.flows

    def flows(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(a) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")
        return tuple(level[:1] for level in both(torch.cat((a, b)), torch.cat((b, a))))

    link.network.flows = flows
    assert torch.equal(link.restore(clip), expected)


@pytest.mark.parametrize(
    ("room", "tile"),
    [
        ((8, 8), (64, 64)),  # too little for any
        ((1000, 1000), (504, 512)),
        ((264, 280), (272, 192)),  # six of these compute less than nine of 264x264
        ((504, 288), (504, 272)),  # an even half and the overlap, and no more
    ],
)
def test_tile_follows_from_the_budget(
    room: tuple[int, int], tile: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    config = fake_link(least_px=64).network.config
    link = fake_link(least_px=64, memory_bytes=estimate_memory(config, 4, *room))
    with caplog.at_level(logging.INFO, logger="vrt_core"):
        assert link.tile_for(500, 510) == tile
    assert f"tiles of {tile[0]}x{tile[1]} px" in caplog.text
    assert link.estimate_bytes(100, 500, 510) >= estimate_memory(config, 4, *tile)


def test_tile_that_is_asked_for_is_taken() -> None:
    assert fake_link(tile_px=32, memory_bytes=1).tile_for(100, 100) == (32, 32)
    assert fake_link(tile_px=0, memory_bytes=1).tile_for(100, 100) == (104, 104)
    assert fake_link(tile_px=(32, 64), memory_bytes=1).tile_for(100, 100) == (32, 64)


def test_known_errors_of_devices() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_this_machine_has_memory() -> None:
    assert 1 << 20 < usable_bytes(torch.device("cpu")) < 1 << 44
