"""A network whose parts are compiled gives what it gives plainly, and is compiled no more often than it need be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch._dynamo import config
from torch._dynamo.utils import counters
from torch.testing import assert_close

from tests.network.test_network import KINDS, clip_for, small
from vrt_core.network import compile_parts


def all_or_error():
    """In this thread, compiling too often is an error, where otherwise torch would go on plainly."""
    return config.patch(fail_on_recompile_limit_hit=True)


@pytest.fixture
def programs():
    """Return a function that tells how many programs were made since it was last called."""
    torch._dynamo.reset()
    num_counted = 0

    def new() -> int:
        nonlocal num_counted
        num_counted, before = counters["stats"]["unique_graphs"], num_counted
        return num_counted - before

    counters.clear()
    with all_or_error():
        yield new
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", ["denoise", "sr_two_hops", "interpolate"])  # all parts that other kinds have
def test_parts_compile_each_once(kind, programs):
    network = small(kind)
    clip = clip_for(network, 5, 40, 48)
    with torch.inference_mode():
        expected = network(clip)
        assert programs() == 0, "the network itself is left plain"
        assert_close(compile_parts(network, backend="aot_eager")(clip), expected, rtol=1e-4, atol=1e-5)
        assert 8 < programs() < 20
        again = compile_parts(network, backend="aot_eager")
        assert_close(again(clip), expected, rtol=1e-4, atol=1e-5)
        assert programs() == 0, "another restorer of the same network compiles nothing"
    assert not counters["graph_break"]


def test_parts_compile_in_other_threads_than_the_one_they_were_made_in(programs):
    network = small("denoise")
    clip = clip_for(network, 5, 40, 48)
    run = compile_parts(network, backend="aot_eager")

    def work() -> torch.Tensor:
        with torch.inference_mode(), all_or_error():
            return run(clip)

    with ThreadPoolExecutor(1) as pool, torch.inference_mode():
        assert_close(pool.submit(work).result(), network(clip), rtol=1e-4, atol=1e-5)
    assert programs() > 8


def test_compiled_parts_use_the_weights_of_the_network(programs):
    network = small("deblur")
    clip = clip_for(network, 2, 32, 32)
    run = compile_parts(network, backend="eager")
    with torch.inference_mode():
        run(clip)
        for parameter in network.parameters():
            parameter.mul_(0.5)
        assert_close(run(clip), network(clip), rtol=1e-4, atol=1e-5)


def test_a_compiled_pass_can_be_cancelled(programs):
    network = small("denoise")
    calls = 0

    def on_block() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    run = compile_parts(network, backend="eager")
    with torch.inference_mode(), pytest.raises(KeyboardInterrupt):
        run(clip_for(network, 2, 32, 32), on_block=on_block)
    assert calls == 3


def test_what_cannot_be_compiled_runs_plainly(programs, caplog):
    def broken(graph, inputs):
        raise RuntimeError("no compiler")

    network = small("denoise")
    clip = clip_for(network, 2, 32, 32)
    run = compile_parts(network, backend=broken)
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(run(clip), network(clip))
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "cannot compile, so the network runs as it is: backend='broken' raised: RuntimeError: no compiler"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["denoise", "interpolate"])
def test_parts_compile_to_code(kind, programs):
    network = small(kind)
    clip = clip_for(network, 4, 32, 32)
    with torch.inference_mode():
        assert_close(compile_parts(network)(clip), network(clip), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_parts_compile_for_cuda(kind, programs):
    network = small(kind).cuda()
    clip = clip_for(network, 5, 40, 48).cuda()
    with torch.inference_mode():
        expected = network(clip)
        assert (compile_parts(network)(clip) - expected).norm() / expected.norm() < 1e-3
