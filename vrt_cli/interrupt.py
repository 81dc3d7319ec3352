"""SIGINT and SIGTERM as a request to stop, so that the output can be finished."""

import signal
import threading
from types import FrameType, TracebackType

from vrt_core import Cancelled


class Interrupt:
    """Context manager that records the first signal and raises KeyboardInterrupt at the second.

    Attributes:
        signum: Number of the signal that came, 0 if none.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._previous: dict[int, object] = {}

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if a signal came; the engine calls this between blocks of the network."""
        if self.signum:
            raise Cancelled(f"stopped by {signal.Signals(self.signum).name}")

    @property
    def exit_code(self) -> int:
        """Exit code by which shells recognise a program that a signal stopped."""
        return 128 + (self.signum or signal.SIGINT)

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise KeyboardInterrupt
        self.signum = signum
