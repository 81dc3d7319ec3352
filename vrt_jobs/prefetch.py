"""Threads for input and output beside the restorer: one prefetches frames, one writes them, each a bounded number."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from vrt_core.hardware import DeviceStream, use_one_openmp_thread
from vrt_media.clip import FrameWriter

_T = TypeVar("_T")

_MAX_BYTES, _MIN_FRAMES, _MAX_FRAMES = 256 << 20, 2, 32
POLL_SECONDS = 0.1


def max_waiting_frames(height: int, width: int) -> int:
    """Return how many float32 RGB frames of that size may wait between two threads."""
    return min(max(_MAX_BYTES // (12 * height * width), _MIN_FRAMES), _MAX_FRAMES)


class Prefetcher(Iterator[_T]):
    """Iterates over a source in a thread of its own, a few items ahead of their use.

    An error of the source is raised here, after the items before it.
    """

    def __init__(
        self, source: Iterator[_T], *, depth: int, stream: DeviceStream, check: Callable[[], object] = lambda: None
    ) -> None:
        """Start to prefetch.

        Args:
            source: Items; used in the other thread only.
            depth: Maximum number of waiting items.
            stream: Stream in which items are computed.
            check: Called while no item is ready; raises to stop waiting.
        """
        self._source, self._stream, self._check = source, stream, check
        self._items: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="vrt-read", daemon=True)
        self._thread.start()

    def __next__(self) -> _T:
        """Return the next item, or raise the error of the source."""
        while True:
            try:
                kind, item = self._items.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._check()
                continue
            if kind == "item":
                return item
            self._items.put((kind, item))  # for further calls
            if item is None:
                raise StopIteration
            raise item

    def close(self) -> None:
        """Stop reading, and wait until the thread no longer uses the source."""
        self._stopped.set()
        while self._thread.is_alive():
            self._thread.join(POLL_SECONDS)

    def _read(self) -> None:
        use_one_openmp_thread()
        error: BaseException | None = None
        try:
            while not self._stopped.is_set():
                with self._stream:
                    item = next(self._source)
                self._put(("item", item))
        except StopIteration:
            pass
        except BaseException as caught:  # noqa: BLE001 (raised again by __next__)
            error = caught
        self._put(("end", error))

    def _put(self, entry: tuple[str, Any]) -> None:
        while not self._stopped.is_set():
            try:
                return self._items.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue


class BackgroundWriter:
    """Writes frames in a thread of its own, in order, a few frames behind.

    After an error, nothing more is written, and the next call raises the error.
    """

    def __init__(
        self, writer: FrameWriter, *, depth: int, stream: DeviceStream, on_frame: Callable[[int], object]
    ) -> None:
        """Start the thread; the caller opens and closes the writer.

        Args:
            writer: Output; used in the other thread only, until `finish`.
            depth: Maximum number of waiting frames.
            stream: Stream in which frames are converted.
            on_frame: Called with the number of finished frames after each, in the other thread.
        """
        self._writer, self._stream, self._on_frame = writer, stream, on_frame
        self._slots = threading.Semaphore(depth)
        self._pool = ThreadPoolExecutor(1, "vrt-write", use_one_openmp_thread)
        self._error: BaseException | None = None

    def write(self, rgb: Tensor, pts: int) -> None:
        """Write a frame; waits while the maximum number of frames waits."""
        self._raise_error()
        self._slots.acquire()
        self._pool.submit(self._run, partial(self._write, rgb, pts, self._stream.record_event()), self._slots.release)

    def copy(self, packet: Any) -> None:
        """Copy a packet of another stream; any thread may call this, before `finish`."""
        self._raise_error()
        self._pool.submit(self._run, partial(self._writer.copy, packet))

    def call(self, function: Callable[[], object]) -> None:
        """Call a function of the writer between frames, in the other thread."""
        self._raise_error()
        self._pool.submit(self._run, function)

    def finish(self) -> None:
        """Wait until everything is written.

        Raises:
            BaseException: The error of the writer.
        """
        self._pool.shutdown()
        self._raise_error()

    def _write(self, rgb: Tensor, pts: int, event: Any) -> None:
        with self._stream:
            self._stream.wait_event(event)
            self._writer.write(rgb, pts)
        self._on_frame(self._writer.num_frames)

    def _run(self, work: Callable[[], object], then: Callable[[], object] = lambda: None) -> None:
        try:
            if self._error is None:
                work()
        except BaseException as error:  # noqa: BLE001 (raised again in the calling thread)
            self._error = error
        finally:
            then()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
