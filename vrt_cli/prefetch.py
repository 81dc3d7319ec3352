"""Threads beside the restorer: one that reads ahead, one that writes behind, each some frames and no more."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from vrt_core import Lane, compute_alone
from vrt_media.clip import Sink

_T = TypeVar("_T")

_BYTES, _LEAST_FRAMES, _MOST_FRAMES = 256 << 20, 2, 32
POLL_SECONDS = 0.1


def frames_at_a_time(height: int, width: int) -> int:
    """How many float32 frames of that size may wait between two threads."""
    return min(max(_BYTES // (12 * height * width), _LEAST_FRAMES), _MOST_FRAMES)


class Ahead(Iterator[_T]):
    """An iterator whose items are made in a thread of its own, a few ahead of their use.

    What the source raises is raised here, after the items before it.
    """

    def __init__(
        self, source: Iterator[_T], *, depth: int, lane: Lane, check: Callable[[], object] = lambda: None
    ) -> None:
        """Begin to read.

        Args:
            source: Used in the other thread only.
            depth: Items that may wait.
            lane: Of the device, for what making an item computes.
            check: Called while nothing comes; raises to give up.
        """
        self._source, self._lane, self._check = source, lane, check
        self._items: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="vrt-read", daemon=True)
        self._thread.start()

    def __next__(self) -> _T:
        """Return the next item, or raise what the source has raised."""
        while True:
            try:
                kind, item = self._items.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._check()
                continue
            if kind == "item":
                return item
            self._items.put((kind, item))  # the end stays the end
            if item is None:
                raise StopIteration
            raise item

    def close(self) -> None:
        """Read no further, and wait until the source is left alone."""
        self._stopped.set()
        while self._thread.is_alive():
            self._thread.join(POLL_SECONDS)

    def _read(self) -> None:
        compute_alone()
        error: BaseException | None = None
        try:
            while not self._stopped.is_set():
                with self._lane:
                    item = next(self._source)
                self._put(("item", item))
        except StopIteration:
            pass
        except BaseException as caught:  # noqa: BLE001 (raised again where it is asked for)
            error = caught
        self._put(("end", error))

    def _put(self, entry: tuple[str, Any]) -> None:
        while not self._stopped.is_set():
            try:
                return self._items.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue


class Behind:
    """A sink that is written to in a thread of its own, in order, a few frames behind.

    Once something has failed, nothing more is written, and the error is raised by the next call.
    """

    def __init__(self, sink: Sink, *, depth: int, lane: Lane, on_frame: Callable[[int], object]) -> None:
        """Take over the writing; opening and closing stay with the caller.

        Args:
            sink: Written to in the other thread only, until `finish`.
            depth: Frames that may wait.
            lane: Of the device, for what writing computes.
            on_frame: Told the number of finished frames after each, in the other thread.
        """
        self._sink, self._lane, self._on_frame = sink, lane, on_frame
        self._room = threading.Semaphore(depth)
        self._pool = ThreadPoolExecutor(1, "vrt-write", compute_alone)
        self._error: BaseException | None = None

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write a frame; waits while too many do."""
        self._raise()
        self._room.acquire()
        self._pool.submit(self._do, partial(self._write, rgb, pts, self._lane.mark()), self._room.release)

    def copy(self, packet: Any) -> None:
        """Copy a packet of another stream; may be called by any thread, after `finish` in vain."""
        self._raise()
        self._pool.submit(self._do, partial(self._sink.copy, packet))

    def finish(self) -> None:
        """Wait until everything is written.

        Raises:
            BaseException: What the sink has raised.
        """
        self._pool.shutdown()
        self._raise()

    def _write(self, rgb: Tensor, pts: int, mark: Any) -> None:
        with self._lane:
            self._lane.wait_for(mark)
            self._sink.write(rgb, pts)
        self._on_frame(self._sink.num_frames)

    def _do(self, work: Callable[[], object], then: Callable[[], object] = lambda: None) -> None:
        try:
            if self._error is None:
                work()
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            self._error = error
        finally:
            then()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
