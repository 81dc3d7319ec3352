"""Runs that end early: Ctrl-C, a script that fails, a reader that closes the pipe."""

import signal
from collections.abc import Callable
from pathlib import Path

import torch

from tests.vs.real import Pipe

FRAME_BYTES = 3 * 33 * 38 * 4

ENDLESS = """
from tests.vs.helpers import fake, filtered
filtered(clip.std.Loop(10_000_000), fake(4, 2)).set_output()
"""

FAILING = """
def fail(n, f):
    if n == 8:
        raise ValueError("frame 8 is missing")
    return f

broken = vs.core.std.ModifyFrame(clip, clip, fail)
restore(broken, model=r"{model}", **options).set_output()
"""


def test_ctrl_c_ends_vspipe_at_once(pipe: Pipe, script: Callable[..., Path]) -> None:
    running = pipe.start(script(ENDLESS))
    assert running.stdout is not None
    running.stdout.read(FRAME_BYTES)  # it has started
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)  # all frames would take days
    assert running.returncode != 0


def test_a_closed_pipe_ends_vspipe(pipe: Pipe, script: Callable[..., Path]) -> None:
    running = pipe.start(script(ENDLESS))
    assert running.stdout is not None
    running.stdout.read(FRAME_BYTES)
    running.stdout.close()
    assert running.wait(timeout=30) != 0


def test_an_error_of_the_script_ends_vspipe_with_a_message(
    pipe: Pipe, models: dict[str, Path], script: Callable[..., Path]
) -> None:
    done = pipe(script(FAILING.format(model=models["deblur"])))
    assert done.returncode == 1
    assert "ValueError: frame 8 is missing" in done.stderr.decode()
    assert len(done.stdout) % FRAME_BYTES == 0  # whole frames
    assert len(done.stdout) <= 8 * FRAME_BYTES  # none that depends on the missing one


def test_a_failing_window_ends_vspipe_with_a_message(
    pipe: Pipe, models: dict[str, Path], clip: torch.Tensor, script: Callable[..., Path]
) -> None:
    broken = clip.clone()
    broken[8, 1, 3, 3] = torch.nan
    done = pipe(script(f"restore(clip, model=r'{models['deblur']}', **options).set_output()", broken))
    assert done.returncode == 1
    assert "vrt: frames 6 to 9: frame 8 holds NaN" in done.stderr.decode()
    assert len(done.stdout) <= 8 * FRAME_BYTES  # the frames before it


def test_a_script_that_cannot_start(pipe: Pipe, script: Callable[..., Path]) -> None:
    done = pipe(script("restore(clip, model='no-such-model', **options).set_output()"))
    assert done.returncode == 1
    assert "vrt: model ('no-such-model') is unknown" in done.stderr.decode()
    assert done.stdout == b""
