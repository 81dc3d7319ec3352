"""Streams: frames come out as soon as possible, in bounded memory, and errors in their turn."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.helpers.fake_restorers import endless, fake_restorer, random_clip
from tests.helpers.live_bytes import LiveBytes
from vrt_core import InputError


@pytest.mark.parametrize("interpolates", [False, True])
def test_frames_come_out_as_soon_as_they_are_settled(interpolates: bool) -> None:
    restorer = fake_restorer(interpolates=interpolates, window=6, overlap=2)
    taken = []

    def source() -> Iterator[Tensor]:
        for n, frame in enumerate(endless(random_clip(3, 8, 8))):
            taken.append(n)
            yield frame

    stream = restorer.stream(source(), cuts="off")
    for n in range(40):
        next(stream)
        if interpolates:
            assert len(taken) <= n // 2 + 3
        else:
            assert len(taken) <= (n // 4) * 4 + 7


@pytest.mark.parametrize("interpolates", [False, True])
def test_long_streams_hold_no_more_frames_than_short_ones(interpolates: bool) -> None:
    restorer = fake_restorer(interpolates=interpolates, window=6, overlap=2, tile_px=16)

    def peak(length: int) -> int:
        frames = (random_clip(1, 24, 8, seed=n)[0] for n in range(length))
        with LiveBytes() as live:
            for _ in restorer.stream(frames, cuts=range(10, length, 17)):
                pass
            assert live.now < 3 * 24 * 8 * 3 * 4
        return live.peak

    assert peak(150) == peak(50)


def test_closing_lets_go_of_everything() -> None:
    restorer = fake_restorer()
    closed = []

    def source() -> Iterator[Tensor]:
        try:
            yield from endless(random_clip(4, 8, 8))
        finally:
            closed.append(True)

    stream = restorer.stream(source())
    frame = weakref.ref(next(stream))
    stream.close()  # type: ignore[attr-defined]
    gc.collect()
    assert closed
    assert frame() is None


def test_inference_mode_does_not_leak_out() -> None:
    stream = fake_restorer().stream(random_clip(9, 8, 8))
    for frame in stream:
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert not frame.is_inference()
        frame.clamp_(0, 1)  # would raise for an inference tensor
        (frame * torch.ones(1, requires_grad=True)).sum().backward()  # so would this


def test_entry_points_work_in_any_thread_and_mode() -> None:
    restorer = fake_restorer()
    clip = random_clip(9, 8, 8).requires_grad_()
    expected = restorer.restore(clip)
    assert not expected.requires_grad
    results = []
    thread = threading.Thread(target=lambda: results.append(restorer.restore(clip)))
    thread.start()
    thread.join()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results.append(restorer.restore(clip))
    with torch.inference_mode():
        results.append(restorer.restore(clip))
        stream = restorer.stream(clip)
        begun = [next(stream)]
    begun.extend(stream)
    assert all(torch.equal(x, expected) for x in (*results, torch.stack(begun)))


def test_errors_of_the_source_come_through_after_finished_frames() -> None:
    clip = random_clip(20, 8, 8)

    def source() -> Iterator[Tensor]:
        yield from clip[:11]
        raise OSError("the disk is gone")

    restorer = fake_restorer(window=4, overlap=2)
    results = []
    with pytest.raises(OSError, match="the disk is gone"):
        results.extend(restorer.stream(source(), cuts="off"))
    assert torch.equal(torch.stack(results), restorer.restore(clip, cuts="off")[: len(results)])
    assert len(results) == 8


@pytest.mark.parametrize(("num_frames", "match"), [(12, "more than the 9 frames"), (7, "less than the frames")])
def test_wrong_num_frames(num_frames: int, match: str) -> None:
    restorer = fake_restorer()
    clip = random_clip(9, 8, 8)
    results = []
    with pytest.raises(InputError, match=match):
        results.extend(restorer.stream(clip, num_frames=num_frames, cuts="off"))
    assert torch.equal(torch.stack(results), restorer.restore(clip[:num_frames], cuts="off"))
