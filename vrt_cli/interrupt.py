"""Ctrl-C and SIGTERM as a wish to stop, so that work can be brought to a clean end."""

import signal
import threading
from types import FrameType, TracebackType

from vrt_core import Cancelled


class Interrupt:
    """While entered, the first signal is noted and the second raises KeyboardInterrupt.

    Attributes:
        signum: The signal that came, 0 if none.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._previous: dict[int, object] = {}

    def check(self) -> None:
        """Raise `Cancelled` if a signal came; given to the engine, which asks between blocks of the network."""
        if self.signum:
            raise Cancelled(f"stopped by {signal.Signals(self.signum).name}")

    @property
    def exit_code(self) -> int:
        """What shells expect of a program that a signal stopped."""
        return 128 + (self.signum or signal.SIGINT)

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise KeyboardInterrupt
        self.signum = signum
