"""Reading ahead and writing behind: in order, bounded, and with errors where they are due."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vrt_cli.prefetch import Ahead, Behind, frames_at_a_time
from vrt_core import Cancelled, Lane

LANE = Lane(torch.device("cpu"))


class ListSink:
    """Keeps stamps and packets in the order in which they come."""

    def __init__(self, *, seconds: float = 0, fail_at: int | None = None) -> None:
        self.num_frames = 0
        self.taken: list[Any] = []
        self.seconds, self.fail_at = seconds, fail_at

    def write(self, rgb: torch.Tensor, pts: int) -> None:
        if pts == self.fail_at:
            raise OSError("no space left")
        time.sleep(self.seconds)
        self.taken.append(pts)
        self.num_frames += 1

    def copy(self, packet: Any) -> None:
        self.taken.append(packet)

    def close(self, *, whole: bool = True) -> None: ...

    def discard(self) -> None: ...


def behind(sink: ListSink, depth: int = 3, on_frame: Any = lambda _: None) -> Behind:
    return Behind(sink, depth=depth, lane=LANE, on_frame=on_frame)


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def source() -> Iterator[int]:
        for n in range(50):
            threads.add(threading.current_thread())
            yield n

    assert list(Ahead(source(), depth=4, lane=LANE)) == list(range(50))
    assert threading.current_thread() not in threads


def test_the_cores_are_left_to_the_network(three_threads: None) -> None:
    class CountingSink(ListSink):
        def write(self, rgb: torch.Tensor, pts: int) -> None:
            self.taken.append(torch.get_num_threads())

    def source() -> Iterator[int]:
        yield torch.get_num_threads()

    assert list(Ahead(source(), depth=4, lane=LANE)) == [1]
    writer = behind(sink := CountingSink())
    writer.write(torch.zeros(3, 2, 2), 0)
    writer.finish()
    assert sink.taken == [1]
    assert torch.get_num_threads() == 3


def test_no_more_than_the_depth_is_read_ahead() -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for n in range(50):
            read.append(n)
            yield n

    ahead = Ahead(source(), depth=4, lane=LANE)
    time.sleep(0.3)
    assert len(read) == 4 + 1  # those that wait, and one that has no room yet
    assert next(ahead) == 0
    ahead.close()
    assert len(read) <= 4 + 2


def test_what_the_source_raises_comes_after_its_items() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    ahead = Ahead(source(), depth=4, lane=LANE)
    assert next(ahead) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            next(ahead)


def test_waiting_for_a_slow_source_can_be_given_up() -> None:
    release = threading.Event()

    def source() -> Iterator[int]:
        release.wait(10)
        yield 1

    def check() -> None:
        raise Cancelled

    ahead = Ahead(source(), depth=4, lane=LANE, check=check)
    with pytest.raises(Cancelled):
        next(ahead)
    release.set()
    ahead.close()


def test_frames_and_packets_are_written_in_order() -> None:
    sink, told = ListSink(), []
    writer = behind(sink, on_frame=told.append)
    for n in range(10):
        writer.copy(f"packet {n}")
        writer.write(torch.zeros(3, 2, 2), n)
    writer.finish()
    assert sink.taken == [entry for n in range(10) for entry in (f"packet {n}", n)]
    assert told == list(range(1, 11))


def test_no_more_than_the_depth_waits_to_be_written() -> None:
    sink = ListSink(seconds=0.05)
    writer = behind(sink, depth=2)
    for n in range(8):
        writer.write(torch.zeros(3, 2, 2), n)
        assert n + 1 - sink.num_frames <= 3
    writer.finish()
    assert sink.num_frames == 8


def test_nothing_is_written_after_a_failure() -> None:
    sink = ListSink(fail_at=3)
    writer = behind(sink)
    for n in range(4):
        writer.write(torch.zeros(3, 2, 2), n)
    with pytest.raises(OSError, match="no space"):
        writer.finish()
    with pytest.raises(OSError, match="no space"):
        writer.write(torch.zeros(3, 2, 2), 4)
    assert sink.taken == [0, 1, 2]


def test_reading_restoring_and_writing_overlap() -> None:
    """Three steps of 20 ms a frame take little longer than one of them."""
    count, seconds = 20, 0.02

    def source() -> Iterator[int]:
        for n in range(count):
            time.sleep(seconds)
            yield n

    begin = time.perf_counter()
    writer = behind(ListSink(seconds=seconds), depth=4)
    for n in Ahead(source(), depth=4, lane=LANE):
        time.sleep(seconds)
        writer.write(torch.zeros(3, 2, 2), n)
    writer.finish()
    assert time.perf_counter() - begin < 0.75 * 3 * count * seconds


def test_what_waits_is_bounded_in_bytes() -> None:
    assert frames_at_a_time(480, 640) == 32
    assert frames_at_a_time(1080, 1920) == 10
    assert frames_at_a_time(4320, 7680) == 2
