"""SIGINT and SIGTERM as a request to stop, so that the output can be finished."""

import signal
import threading
from types import FrameType, TracebackType

from vrt_core import Cancelled


class Interrupt:
    """Context manager that turns signals into `Cancelled`, where the program can stop.

    If it is patient, the first SIGINT stops the job after the window in work, the second one at once. SIGTERM stops it
    at once, because service managers kill what does not end soon. Without patience, the first signal stops it at once,
    and the second raises KeyboardInterrupt.

    Attributes:
        signum: Number of the signal that came, 0 if none.
        is_requested: Whether a signal came.
    """

    def __init__(self, *, patient: bool = False) -> None:
        """Wait for signals.

        Args:
            patient: Whether the first SIGINT waits for the end of a window.
        """
        self.signum = 0
        self.is_patient = patient
        self._num_signals = 0
        self._previous: dict[int, object] = {}

    @property
    def is_requested(self) -> bool:
        """Whether a signal came."""
        return self.signum != 0

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if the job is to stop at once; the engine calls this between blocks of the network."""
        if self._num_signals > (1 if self.is_patient and self.signum != signal.SIGTERM else 0):
            self.raise_if_requested()

    def raise_if_requested(self) -> None:
        """Raise `Cancelled` if a signal came; for places where nothing is lost."""
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
        self._num_signals += 1
        if self._num_signals > (2 if self.is_patient else 1):
            raise KeyboardInterrupt
        self.signum = signum
