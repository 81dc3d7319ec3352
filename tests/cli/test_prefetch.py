"""Prefetching and background writing: in order, bounded, concurrent, and with errors raised where they belong."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vrt_core import Cancelled
from vrt_core.hardware import DeviceStream
from vrt_jobs.prefetch import BackgroundWriter, Prefetcher, max_waiting_frames

STREAM = DeviceStream(torch.device("cpu"))
FRAME = torch.zeros(3, 2, 2)
TIMEOUT_SECONDS = 60


class ListWriter:
    """Records time stamps and packets in the order in which they come."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.num_frames = 0
        self.entries: list[Any] = []
        self.fail_at = fail_at

    result = None

    def write(self, rgb: torch.Tensor, pts: int) -> None:
        if pts == self.fail_at:
            raise OSError("no space left")
        self.entries.append(pts)
        self.num_frames += 1

    def copy(self, packet: Any) -> None:
        self.entries.append(packet)

    def cut_short(self) -> None: ...

    def close(self, *, complete: bool = True) -> None: ...

    def discard(self) -> None: ...


def in_background(writer: ListWriter, depth: int = 3, on_frame: Any = lambda _: None) -> BackgroundWriter:
    return BackgroundWriter(writer, depth=depth, stream=STREAM, on_frame=on_frame)


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def source() -> Iterator[int]:
        for n in range(50):
            threads.add(threading.current_thread())
            yield n

    assert list(Prefetcher(source(), depth=4, stream=STREAM)) == list(range(50))
    assert threading.current_thread() not in threads


def test_the_cores_are_left_to_the_network(three_threads: None) -> None:
    class CountingWriter(ListWriter):
        def write(self, rgb: torch.Tensor, pts: int) -> None:
            self.entries.append(torch.get_num_threads())

    def source() -> Iterator[int]:
        yield torch.get_num_threads()

    assert list(Prefetcher(source(), depth=4, stream=STREAM)) == [1]
    output = in_background(writer := CountingWriter())
    output.write(FRAME, 0)
    output.finish()
    assert writer.entries == [1]
    assert torch.get_num_threads() == 3


def test_no_more_than_the_depth_is_prefetched() -> None:
    depth, num_items = 4, 50
    num_requested = 0  # items that were asked for
    is_full = threading.Event()
    too_early: list[int] = []

    def source() -> Iterator[int]:
        for n in range(num_items):
            if n == depth:  # the queue is full, and this item waits for it
                is_full.set()
            if n > depth + num_requested:
                too_early.append(n)
            yield n

    prefetcher = Prefetcher(source(), depth=depth, stream=STREAM)
    assert is_full.wait(TIMEOUT_SECONDS)
    for n in range(num_items):
        num_requested += 1
        assert next(prefetcher) == n
    prefetcher.close()
    assert too_early == []


def test_errors_of_the_source_come_after_its_items() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    prefetcher = Prefetcher(source(), depth=4, stream=STREAM)
    assert next(prefetcher) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            next(prefetcher)


def test_waiting_for_a_slow_source_can_be_cancelled() -> None:
    release = threading.Event()

    def source() -> Iterator[int]:
        release.wait(TIMEOUT_SECONDS)
        yield 1

    def check() -> None:
        raise Cancelled

    prefetcher = Prefetcher(source(), depth=4, stream=STREAM, check=check)
    with pytest.raises(Cancelled):
        next(prefetcher)
    release.set()
    prefetcher.close()


def test_frames_and_packets_are_written_in_order() -> None:
    writer, reported = ListWriter(), []
    output = in_background(writer, on_frame=reported.append)
    for n in range(10):
        output.copy(f"packet {n}")
        output.write(FRAME, n)
    output.finish()
    assert writer.entries == [entry for n in range(10) for entry in (f"packet {n}", n)]
    assert reported == list(range(1, 11))


def test_no_more_than_the_depth_waits_to_be_written() -> None:
    depth, num_frames = 2, 20
    num_submitted = 0
    is_full = threading.Event()
    too_many: list[int] = []

    class SlowWriter(ListWriter):
        def write(self, rgb: torch.Tensor, pts: int) -> None:
            assert is_full.wait(TIMEOUT_SECONDS)
            if num_submitted > self.num_frames + depth:
                too_many.append(num_submitted)
            super().write(rgb, pts)

    writer = SlowWriter()
    output = in_background(writer, depth=depth)
    for n in range(num_frames):
        if n == depth:
            is_full.set()
        output.write(FRAME, n)
        num_submitted += 1
    output.finish()
    assert writer.num_frames == num_frames
    assert too_many == []


def test_nothing_is_written_after_a_failure() -> None:
    writer = ListWriter(fail_at=3)
    output = in_background(writer)
    for n in range(4):
        output.write(FRAME, n)
    with pytest.raises(OSError, match="no space"):
        output.finish()
    with pytest.raises(OSError, match="no space"):
        output.write(FRAME, 4)
    assert writer.entries == [0, 1, 2]


def test_reading_restoring_and_writing_run_at_the_same_time() -> None:
    """The three steps meet at a barrier: item n + 2 is read while n + 1 is restored and n is written."""
    num_rounds = 20
    barrier = threading.Barrier(3, timeout=TIMEOUT_SECONDS)

    def meet(round_number: int) -> None:
        if 0 <= round_number < num_rounds:
            barrier.wait()

    def source() -> Iterator[int]:
        for n in range(num_rounds + 2):
            meet(n - 2)
            yield n

    class MeetingWriter(ListWriter):
        def write(self, rgb: torch.Tensor, pts: int) -> None:
            meet(pts)
            super().write(rgb, pts)

    writer = MeetingWriter()
    output = in_background(writer, depth=4)
    for n in Prefetcher(source(), depth=4, stream=STREAM):
        meet(n - 1)
        output.write(FRAME, n)
    output.finish()
    assert writer.entries == list(range(num_rounds + 2))


def test_waiting_frames_are_bounded_in_bytes() -> None:
    assert max_waiting_frames(480, 640) == 32
    assert max_waiting_frames(1080, 1920) == 10
    assert max_waiting_frames(4320, 7680) == 2
